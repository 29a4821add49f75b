"""A checkpoint in the public PyTorch layout as the file that the parameter `weights` names.

```sh
python -m fpbench_hidden.converting IN.pyt OUT.safetensors
```

No code of the file is run, and every name and shape is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - what torch.load raises; nothing is unpickled
from typing import Any

import click
import torch
from safetensors.torch import save_file
from torch import Tensor

from fpbench.api import ContractError, State
from fpbench_hidden import layout

__all__ = ["convert"]

_MODEL = "enc-dec-model"
_LAST = "encoder.final_layer.weight"  # (3, C, 1, 1)
_LINEAR = "decoder.linear.weight"  # (K, K)


def convert(path: Path) -> State:
    """Embedder and extractor of a checkpoint, as `fit` would return them.

    Args:
        path: a file as ando-khachatryan/HiDDeN saves them (.pyt), of any number of bits and
            channels; its adversary and optimisers are not used.

    Returns:
        ``embedder.*``, ``reader.*``: float32, but for the counters of batches, which are 0 where
        the checkpoint has none.

    Raises:
        ContractError: it holds something else; names the first tensor that is wrong.
    """
    who = f"checkpoint {path.name}"
    found = {_renamed(name): value for name, value in _model_of(who, _read(who, path)).items()}
    bits, channels = _size(found, _renamed(_LINEAR), 30), _size(found, _renamed(_LAST), 64)
    expected = layout.shapes(bits, channels)
    layout.check(who, {name: tuple(value.shape) for name, value in found.items()}, expected)
    state: State = {}
    for name in expected:
        if name.endswith(layout.COUNTER):
            state[name] = found.get(name, torch.zeros(())).to(torch.int64).clone()
            continue
        value = found[name]
        if not value.is_floating_point() or not bool(torch.isfinite(value).all()):
            raise ContractError(
                f"{who}: expected finite numbers in the tensor {name}, got others "
                f"({value.dtype}); bring another checkpoint"
            )
        state[name] = value.to(torch.float32).contiguous()
    return state


def _read(who: str, path: Path) -> Any:
    try:
        # The public checkpoints are in torch's own format; weights_only runs no code of the file.
        return torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except (UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ContractError(
            f"{who}: expected a file of tensors, got one that torch does not read without running "
            f"its code ({str(error).splitlines()[0]}); bring a checkpoint, not options or a model"
        ) from error


def _model_of(who: str, saved: Any) -> Mapping[str, Tensor]:
    if not isinstance(saved, Mapping) or _MODEL not in saved:
        got = ", ".join(map(str, saved)) if isinstance(saved, Mapping) else type(saved).__name__
        raise ContractError(
            f"{who}: expected a mapping with {_MODEL!r}, got {got or 'an empty one'}; bring a "
            "checkpoint of HiDDeN in the public PyTorch layout"
        )
    model = saved[_MODEL]
    if not isinstance(model, Mapping) or not all(map(torch.is_tensor, model.values())):
        raise ContractError(
            f"{who}: expected tensors by name in {_MODEL!r}, got {type(model).__name__} with other "
            "content; bring a checkpoint of HiDDeN in the public PyTorch layout"
        )
    return model


def _renamed(name: str) -> str:
    for public, own in layout.PREFIXES.items():
        if name.startswith(public):
            return own + name.removeprefix(public)
    return name


def _size(found: Mapping[str, Tensor], name: str, otherwise: int) -> int:
    """The second dimension of a tensor; a published size where there is none to ask."""
    value = found.get(name)
    return value.shape[1] if value is not None and value.dim() > 1 else otherwise


@click.command(help="Makes the file OUT of safetensors of the checkpoint IN, for `weights`.")
@click.argument("given", metavar="IN", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("made", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path))
def _main(given: Path, made: Path) -> None:
    try:
        state = convert(given)
    except ContractError as error:
        raise click.ClickException(str(error)) from error
    save_file(state, made)
    bits, channels = state[_renamed(_LINEAR)].shape[1], state[_renamed(_LAST)].shape[1]
    click.echo(f'{made}: set architecture = "paper", bits = {bits}, channels = {channels}')


if __name__ == "__main__":
    _main()

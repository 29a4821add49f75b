"""Several modules in one state and back, and onto the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from fpbench.api import ContractError, State

__all__ = ["counted", "filled", "opened", "part", "placed", "prefixed"]

M = TypeVar("M", bound=nn.Module)


def prefixed(modules: Mapping[str, nn.Module]) -> State:
    """The tensors of several modules as one state, each under the name of its module and a dot."""
    return {
        f"{name}.{key}": tensor
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }


def part(state: State, name: str) -> dict[str, Tensor]:
    """What one module put into a state, for its ``load_state_dict``."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): t for key, t in state.items() if key.startswith(prefix)}


def filled(build: Callable[[], M], tensors: Mapping[str, Tensor]) -> M:
    """A module that holds given tensors.

    The weights that they replace are drawn, and nobody's draws move by it. On the meta device they
    would not be, but to leave them out torch loads its compiler, for seconds in each process.

    Args:
        build: makes the module.
        tensors: all of its state; shared, not copied.
    """
    with torch.random.fork_rng(devices=[]):
        module = build()
    module.load_state_dict(tensors, assign=True)
    return module.eval().requires_grad_(False)


def counted(tensors: Mapping[str, Tensor], modules: str) -> int:
    """How many modules a list of them has in a state; its name is `modules`."""
    prefix = f"{modules}."
    found = (name.removeprefix(prefix) for name in tensors if name.startswith(prefix))
    return len({name.partition(".")[0] for name in found})


def opened(who: str, build: Callable[[], M], tensors: Mapping[str, Tensor]) -> M:
    """A module that holds the weights of a file; see `filled`.

    Args:
        who: opens it, for messages.
        build: makes the module.
        tensors: all of its state; shared, not copied.

    Raises:
        ContractError: the weights are not those of such a module.
    """
    try:
        return filled(build, tensors)
    except (RuntimeError, ValueError) as error:
        raise ContractError(
            f"{who}: expected the weights of a copy of these parameters, got others ({error}); "
            "open it with the parameters that it was made with"
        ) from error


def placed(module: M, device: torch.device) -> M:
    """The module itself, on the device and in the memory format of images."""
    return module.to(device).to(memory_format=torch.channels_last)

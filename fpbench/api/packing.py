"""Generators as files: the weights of their steps by "step/name"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpbench.api.errors import ContractError

if TYPE_CHECKING:
    from fpbench.api.generator import Generator
    from fpbench.api.types import State

__all__ = ["alone", "pack", "taken"]


def pack(who: str, generator: Generator) -> State:
    """All weights of a generator, contiguous, in memory of their own.

    Args:
        who: packs it, for messages.
        generator: any.

    Raises:
        ContractError: a step is opaque: its weights are not here.
    """
    import torch

    if generator.opaque:
        raise ContractError(
            f"{who}: expected a copy whose weights can be packed, got the opaque "
            f"{', '.join(sorted(generator.opaque))}; hand out its files or its program instead"
        )
    return {
        f"{step}/{name}": tensor.detach().clone(memory_format=torch.contiguous_format)
        for step, module in generator.steps.items()
        for name, tensor in module.state_dict().items()
    }


def taken(who: str, packed: State, step: str) -> tuple[State, State]:
    """The weights of one step, by their names within it, and what else there is.

    Args:
        who: unpacks them, for messages.
        packed: what `pack` gave.
        step: whose.

    Raises:
        ContractError: the file has no such step.
    """
    prefix = f"{step}/"
    own = {name.removeprefix(prefix): t for name, t in packed.items() if name.startswith(prefix)}
    if not own:
        raise _other(who, packed, step)
    return own, {name: t for name, t in packed.items() if not name.startswith(prefix)}


def alone(who: str, packed: State, step: str) -> State:
    """The weights of the only step, by their names within it; see `taken`.

    Raises:
        ContractError: the file is of another step, or of more.
    """
    own, rest = taken(who, packed, step)
    if rest:
        raise _other(who, packed, step)
    return own


def _other(who: str, packed: State, step: str) -> ContractError:
    steps = sorted({place.partition("/")[0] for place in packed})
    return ContractError(
        f"{who}: expected a file of a copy with the step {step!r}, got "
        f"{', '.join(steps) or 'an empty one'}; open it with the method and the host that it is of"
    )

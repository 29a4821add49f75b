"""What crosses a boundary is checked where it crosses: shape, dtype, range, finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fpbench.api import ContractError, Generator, Gives, Method


def check_generator(who: str, generator: object) -> Generator:
    """`generator` as a generator whose weights are finite.

    Raises:
        ContractError: it is anything else.
    """
    if not isinstance(generator, Generator):
        raise ContractError(f"{who}: expected a generator, got {type(generator).__name__}")
    for step, module in generator.steps.items():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise ContractError(
                    f"{who}: expected finite weights, got NaN or infinity in '{step}.{name}'"
                )
    return generator


def reading_shape(method: Method[Any], rows: int, users: int) -> tuple[int, ...]:
    """Shape of the reading of so many samples, or of one copy, among so many registered users."""
    columns = {Gives.BITS: (method.bits,), Gives.SCORES: (users,), Gives.PRESENCE: ()}
    return (rows, *columns[method.gives])


def check_reading(who: str, reading: object, shape: tuple[int, ...]) -> Tensor:
    """`reading` as finite floats of a shape.

    Raises:
        ContractError: it is anything else.
    """
    expected = f"finite floats {shape}"
    if not isinstance(reading, Tensor):
        raise ContractError(f"{who}: expected {expected}, got {type(reading).__name__}")
    if not reading.is_floating_point() or tuple(reading.shape) != shape:
        got = f"{str(reading.dtype).removeprefix('torch.')} {tuple(reading.shape)}"
        raise ContractError(f"{who}: expected {expected}, got {got}; return what `gives` says")
    bad = int((~torch.isfinite(reading)).sum())
    if bad:
        raise ContractError(f"{who}: expected {expected}, got {bad} values that are not finite")
    return reading


def check_alone(who: str, together: Tensor, alone: Tensor) -> None:
    """That an image reads the same in a batch and alone, but for rounding.

    With the images of one user in a batch, batch statistics carry the code.

    Args:
        who: for the message.
        together: `(1, K)` logits of an image that was read in a batch.
        alone: `(1, K)` its logits when it is read alone.

    Raises:
        ContractError: they differ.
    """
    if not torch.allclose(together.float(), alone.float(), rtol=1e-2, atol=1e-2):
        raise ContractError(
            f"{who}: expected the reading of an image not to depend on its batch, got another one "
            "alone; a reader must not use batch statistics"
        )


def check_state(who: str, state: object) -> dict[str, Tensor]:
    """`state` as a dict of finite tensors.

    Raises:
        ContractError: it is anything else.
    """
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ContractError(
            f"{who}: expected a dict of tensors as state, got {type(state).__name__}"
        )
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ContractError(
                f"{who}: expected finite tensors in its state, got NaN or infinity in '{name}'"
            )
    return state


def check_opened(who: str, packed: dict[str, Tensor], again: dict[str, Tensor]) -> None:
    """That a copy, opened from a file, makes the same file again: it took all of it as it is.

    Args:
        who: opened it.
        packed: what was in the file.
        again: what `pack` gives of the opened copy.

    Raises:
        ContractError: they differ.
    """
    odd = sorted(packed.keys() ^ again.keys()) or [
        name for name, tensor in packed.items() if not _equal(tensor, again[name])
    ]
    if odd:
        raise ContractError(
            f"{who}: expected the weights of one copy and nothing else, which pack as they were, "
            f"got another '{odd[0]}'; open the file that `pack` made, as it is"
        )


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)

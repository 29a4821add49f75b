"""Samples as a file could carry them, checked where they cross a boundary; needs torch."""

from __future__ import annotations

import torch
from torch import Tensor

from fpbench.api.errors import ContractError
from fpbench.api.types import SampleInfo

__all__ = ["check_samples"]


def check_samples(who: str, what: str, samples: object, count: int, info: SampleInfo) -> Tensor:
    """`samples` as a tensor (count, *shape) of the type that `info` tells of.

    Args:
        who: has made them, for the message.
        what: they are, in the plural: "images".
        samples: to be checked.
        count: how many there should be.
        info: their shape and type.

    Raises:
        ContractError: they are anything else.
    """
    shape = (count, *info.shape)
    expected = f"{what} {info.dtype} {shape}"
    if not isinstance(samples, Tensor):
        raise ContractError(f"{who}: expected {expected}, got {type(samples).__name__}")
    dtype = str(samples.dtype).removeprefix("torch.")
    if dtype != info.dtype or tuple(samples.shape) != shape:
        got = f"{dtype} {tuple(samples.shape)}"
        if samples.is_floating_point() and samples.numel():
            bad = not bool(torch.isfinite(samples).all())
            got += " with NaN or infinity" if bad else ""
            got += "" if bad else f" in [{float(samples.min()):g}, {float(samples.max()):g}]"
        raise ContractError(
            f"{who}: expected {expected}, got {got}; return {what} as a file carries them, of the "
            "same shape"
        )
    return samples

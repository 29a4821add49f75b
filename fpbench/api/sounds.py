"""16-bit sounds as the floats that networks work on, and back; needs torch."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["to_float", "to_int16"]

_FULL = 2.0**15


def to_float(sounds: Tensor) -> Tensor:
    """Sounds as floats in [-1, 1).

    Args:
        sounds: ``(N, C, T)`` int16.

    Returns:
        ``(N, C, T)`` float32; -32768 maps to -1 and silence to 0.
    """
    return sounds.to(torch.float32).mul_(1 / _FULL)


def to_int16(sounds: Tensor) -> Tensor:
    """Sounds as the 16-bit samples that leave a generator: clamped, rounded to the nearest level.

    Args:
        sounds: ``(N, C, T)`` float, nominally in [-1, 1]; 1 itself is the highest level.

    Returns:
        ``(N, C, T)`` int16. ``to_int16(to_float(x))`` equals ``x``.
    """
    levels = sounds.detach().float().mul(_FULL).round_().clamp_(-_FULL, _FULL - 1)
    return levels.to(torch.int16)

"""8-bit images as the floats that networks work on, and back; needs torch."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["quantise", "to_float", "to_uint8"]


def to_float(images: Tensor) -> Tensor:
    """Images as floats in [-1, 1].

    Args:
        images: ``(N, 3, H, W)`` uint8.

    Returns:
        ``(N, 3, H, W)`` float32 in [-1, 1], channels-last memory; 0 maps to -1 and 255 to 1.
    """
    return images.to(torch.float32, memory_format=torch.channels_last).mul_(2 / 255).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Images as the 8-bit pixels that leave a generator: clamped, rounded to the nearest level.

    Args:
        images: ``(N, 3, H, W)`` float, nominally in [-1, 1].

    Returns:
        ``(N, 3, H, W)`` uint8, channels-last memory. ``to_uint8(to_float(x))`` equals ``x``.
    """
    levels = images.detach().float().add(1).mul_(127.5).round_().clamp_(0, 255)
    return levels.to(torch.uint8, memory_format=torch.channels_last)


def quantise(images: Tensor) -> Tensor:
    """Images as a reader of 8-bit files sees them, with the gradient of the identity.

    Args:
        images: ``(N, 3, H, W)`` float, nominally in [-1, 1].

    Returns:
        ``(N, 3, H, W)`` float32 in [-1, 1], to the bit ``to_float(to_uint8(images))``; no gradient
        where the input was outside.
    """
    clamped = images.clamp(-1, 1)
    # The difference is 0 and carries the gradient.
    return to_float(to_uint8(images)) + (clamped - clamped.detach())

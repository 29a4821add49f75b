"""What images have in common, and images without it."""

from __future__ import annotations

import torch
from torch import Tensor

from fpbench.api.images import to_float
from fpbench.nn.distortions import blur

__all__ = ["mean_detail", "subtracted"]

_CHUNK = 256


def mean_detail(images: Tensor, sigma: float) -> Tensor:
    """The mean of images, less their smoothed versions, (3, H, W) float32 in levels of 255.

    Args:
        images: (N, 3, H, W) uint8, at least one.
        sigma: of the Gaussian that smooths, pixels, borders mirrored; 0 = nothing is taken away.
    """
    total = torch.zeros(images.shape[1:], dtype=torch.float64, device=images.device)
    for part in torch.split(images, _CHUNK):
        total += part.double().sum(0)
        if sigma:
            values = to_float(part)
            smooth = blur(values, torch.full((len(part),), sigma))
            total -= smooth.add(1).mul(127.5).double().sum(0)
    return (total / len(images)).float()


def subtracted(images: Tensor, residual: Tensor, gain: float) -> Tensor:
    """(N, 3, H, W) uint8 images less so many times a residual (3, H, W), rounded and clamped."""
    levels = images.float() - gain * residual.to(images.device)
    return levels.round().clamp(0, 255).to(torch.uint8, memory_format=torch.channels_last)

"""What a user's images have in common, once they are freed of what is smooth."""

from __future__ import annotations

import torch
from torch import Tensor

from fpbench.api.images import to_float
from fpbench.nn.distortions import blur

__all__ = ["mean_residual"]

_CHUNK = 256


def mean_residual(images: Tensor, *, sigma: float = 1.0) -> Tensor:
    """The mean of images less their smoothed versions, ``(3, H, W)`` float on the scale [-1, 1].

    Args:
        images: ``(N, 3, H, W)`` uint8.
        sigma: Of the Gaussian that smooths, pixels; borders are mirrored.
    """
    total = torch.zeros(images.shape[1:], dtype=torch.float64, device=images.device)
    for part in torch.split(images, _CHUNK):
        values = to_float(part)
        smooth = blur(values, torch.full((len(part),), sigma))
        total += (values - smooth).double().sum(0)
    return (total / len(images)).float()

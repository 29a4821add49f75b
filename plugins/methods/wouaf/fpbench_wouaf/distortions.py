"""What an image meets in the robust training of WOUAF, with fresh draws for every image.

The released code draws the width of its blur and the padding of its crops once for a whole
training; here every image of every batch draws its own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fpbench.nn.distortions import blur, jpeg, noise
from fpbench.nn.draws import Draws

__all__ = ["published"]

_SHARE = 0.3  # of the images that each distortion meets
_QUALITIES = (50.0, 90.0)


def published(images: Tensor, draws: Draws) -> Tensor:
    """Crop, rotation, blur, brightness, noise, erasing and JPEG, each on a share of the images.

    Args:
        images: (N, 3, H, W) in [-1, 1].
        draws: of these images, on the CPU.
    """
    for change in (_shifted, _rotated, _blurred, _relit, _noisy, _erased, _compressed):
        met = draws.uniform() < _SHARE
        images = torch.where(
            met.to(images.device)[:, None, None, None], change(images, draws), images
        )
    return images.clamp(-1, 1)


def _shifted(images: Tensor, draws: Draws) -> Tensor:
    """Padded by up to a tenth of the side, and cut back at a random place."""
    pad = draws.uniform(0.02, 0.1)
    offset = draws.uniform(-1, 1, (2,)) * (2 * pad)[:, None]
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, :, 2] = offset
    return _resampled(images, theta)


def _rotated(images: Tensor, draws: Draws) -> Tensor:
    """By up to 30 degrees about the centre; what comes into view is black."""
    angle = draws.uniform(-math.pi / 6, math.pi / 6)
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = angle.cos()
    theta[:, 0, 1], theta[:, 1, 0] = -angle.sin(), angle.sin()
    return _resampled(images, theta)


def _blurred(images: Tensor, draws: Draws) -> Tensor:
    """A Gaussian of 1 to 3 pixels."""
    return blur(images, draws.uniform(1, 3))


def _relit(images: Tensor, draws: Draws) -> Tensor:
    """All channels times one factor of 0.7 to 1.3, black stays black."""
    factor = draws.uniform(0.7, 1.3).to(images)[:, None, None, None]
    return (images + 1) * factor - 1


def _noisy(images: Tensor, draws: Draws) -> Tensor:
    """White noise of 0.2 on the scale where white is 1."""
    return noise(images, torch.full((len(images),), 0.2), draws)


def _erased(images: Tensor, draws: Draws) -> Tensor:
    """A rectangle of 2 to 33 % of the area, its sides as 0.3 to 3.3, black."""
    height, width = images.shape[2:]
    area, ratio = draws.uniform(0.02, 0.33), draws.uniform(0.3, 3.3)
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)
    place = draws.uniform(shape=(2,)) * (1 - sides)
    rows = (torch.arange(height) + 0.5) / height
    columns = (torch.arange(width) + 0.5) / width
    inside = (rows >= place[:, :1]) & (rows < place[:, :1] + sides[:, :1])
    across = (columns >= place[:, 1:]) & (columns < place[:, 1:] + sides[:, 1:])
    mask = inside[:, None, :, None] & across[:, None, None, :]
    return images.masked_fill(mask.to(images.device), -1.0)


def _compressed(images: Tensor, draws: Draws) -> Tensor:
    """JPEG of quality 50 to 90."""
    return jpeg(images, draws.uniform(*_QUALITIES))


def _resampled(images: Tensor, theta: Tensor) -> Tensor:
    """Bilinear; pixels from outside are black."""
    grid = nn.functional.affine_grid(theta.to(images), list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images + 1, grid, align_corners=False) - 1

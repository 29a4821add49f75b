"""What may happen to an image before it is read, with a gradient, to harden readers in training.

All work on float images in [-1, 1] and draw per image from a generator that the caller owns. They
are training noise, not attacks: attacks act on 8-bit images and are defined in plugins of their
own.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fpbench.nn.images import to_uint8

__all__ = [
    "blur",
    "crop_resize",
    "half_resize",
    "jpeg",
    "noise",
    "paste",
    "relight",
    "soften",
    "uniform",
]


def uniform(count: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    """``(count,)`` numbers in [low, high), drawn on the CPU so every device sees the same."""
    return torch.rand(count, generator=rng) * (high - low) + low


def soften(images: Tensor, rng: torch.Generator) -> Tensor:
    """A batch in which a third stays clean and the rest meets one of four distortions.

    Noise of at most 0.15, blur of 0.4 to 1.2 pixels, halving and doubling, or JPEG of quality 45 to
    95: the strengths an image may meet and still be worth having.

    Args:
        images: ``(N, 3, H, W)`` in [-1, 1].
        rng: On the CPU.
    """
    # Runs of the batch, not a draw per image: the shares are then always the same, and images
    # within a batch are exchangeable anyway.
    count = len(images)
    clean = count // 3
    sizes = [clean, *((count - clean + i) // 4 for i in range(4))]
    plain, noisy, blurred, halved, coded = torch.split(images, sizes)
    return torch.cat(
        [
            plain,
            noise(noisy, uniform(len(noisy), 0.0, 0.15, rng), rng),
            blur(blurred, uniform(len(blurred), 0.4, 1.2, rng)),
            half_resize(halved),
            jpeg(coded, uniform(len(coded), 45, 95, rng)),
        ]
    )


def noise(images: Tensor, sigma: Tensor, rng: torch.Generator) -> Tensor:
    """Images ``(N, 3, H, W)`` plus white Gaussian noise.

    Args:
        images: In [-1, 1].
        sigma: ``(N,)``, on the scale where white is 1 and black 0.
        rng: On the CPU.
    """
    draws = torch.randn(images.shape, generator=rng).to(images.device)
    return images + draws * (2 * sigma.to(images.device))[:, None, None, None]


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Images under a Gaussian blur of one ``sigma`` each (pixels, ``(N,)``), mirrored borders."""
    rows = _blur_matrices(images.shape[2], sigma).to(images)
    columns = _blur_matrices(images.shape[3], sigma).to(images)
    return rows[:, None] @ images @ columns[:, None].transpose(2, 3)


def relight(images: Tensor, change: Tensor, rng: torch.Generator) -> Tensor:
    """Images with each colour channel brightened or dimmed, black staying black.

    Args:
        images: ``(N, 3, H, W)`` in [-1, 1].
        change: ``(N,)``, the most that a channel's factor departs from 1.
        rng: On the CPU.
    """
    gains = 1 + change[:, None] * (2 * torch.rand(len(images), 3, generator=rng) - 1)
    return (images + 1) * gains.to(images)[:, :, None, None] - 1


def half_resize(images: Tensor) -> Tensor:
    """Images halved (pixel areas) and brought back to their size (bilinear)."""
    small = F.avg_pool2d(images, 2)
    return F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)


def crop_resize(images: Tensor, keep: Tensor, rng: torch.Generator) -> Tensor:
    """A square part of each image at a random place, brought back to full size (bilinear).

    Args:
        images: ``(N, 3, H, H)`` in [-1, 1].
        keep: ``(N,)`` share of the side that is kept.
        rng: On the CPU.
    """
    count = images.shape[0]
    offset = (torch.rand(count, 2, generator=rng) * 2 - 1) * (1 - keep)[:, None]
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = keep
    theta[:, 1, 1] = keep
    theta[:, :, 2] = offset
    grid = F.affine_grid(theta.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def paste(
    images: Tensor, under: Tensor, keep: Tensor, rng: torch.Generator, *, square: bool
) -> Tensor:
    """Images of which only a part survives; the rest is taken from ``under``.

    With ``square`` the part is a square at a random place (HiDDeN's cropout), else single pixels
    (its dropout).

    Args:
        images: ``(N, 3, H, W)`` in [-1, 1].
        under: The same, what replaces the lost part.
        keep: ``(N,)`` share of the area that survives.
        rng: On the CPU.
        square: Whether the surviving part is one square.
    """
    count, _, height, width = images.shape
    if square:
        side = keep.sqrt()
        place = torch.rand(count, 2, generator=rng) * (1 - side)[:, None]
        rows, columns = ((torch.arange(size) + 0.5) / size for size in (height, width))
        inside_rows = (rows >= place[:, :1]) & (rows < place[:, :1] + side[:, None])
        inside_columns = (columns >= place[:, 1:]) & (columns < place[:, 1:] + side[:, None])
        mask = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    else:
        mask = torch.rand(count, 1, height, width, generator=rng) < keep[:, None, None, None]
    return torch.where(mask.to(images.device), images, under)


def jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """Images through a real JPEG codec (OpenCV, 4:2:0), with the gradient of the identity.

    Args:
        images: ``(N, 3, H, W)`` in [-1, 1].
        quality: ``(N,)``, 1 to 100.
    """
    pixels = to_uint8(images).permute(0, 2, 3, 1).cpu().numpy()
    decoded = np.empty_like(pixels)
    for index, level in enumerate(quality.tolist()):
        _, data = cv2.imencode(
            ".jpg", pixels[index, :, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, round(level)]
        )
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert image is not None
        decoded[index] = image[:, :, ::-1]
    result = torch.from_numpy(decoded).permute(0, 3, 1, 2).to(images).mul(2 / 255).sub(1)
    return images + (result - images).detach()


def _blur_matrices(size: int, sigma: Tensor) -> Tensor:
    """``(N, size, size)`` matrices that blur a column of pixels; rows sum to 1."""
    radius = min(size - 1, math.ceil(3 * float(sigma.max())))
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-(offsets[None] ** 2) / (2 * sigma[:, None].clamp_min(1e-3) ** 2))
    weights = weights / weights.sum(1, keepdim=True)
    source = torch.arange(size)[:, None] + offsets[None]
    source = source.abs()
    source = torch.where(source > size - 1, 2 * (size - 1) - source, source)
    # one_hot is (size, taps, size): which pixel each tap of each output pixel reads.
    return torch.einsum("nt,itj->nij", weights, F.one_hot(source, size).to(weights))

"""What may happen to an image before it is read, with a gradient, to harden readers in training.

All work on float images in [-1, 1], and what they draw for an image depends on its place in the
whole batch alone (`fpbench.nn.draws`). They are training noise, not attacks: attacks act on 8-bit
images and are defined in plugins of their own.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fpbench.api.images import to_uint8
from fpbench.nn.draws import Draws, dealt

__all__ = [
    "blur",
    "crop_resize",
    "half_resize",
    "jpeg",
    "noise",
    "paste",
    "relight",
    "soften",
]


def soften(images: Tensor, draws: Draws) -> Tensor:
    """A batch in which a third stays clean and the rest meets one of four distortions.

    Noise of at most 0.15, blur of 0.4 to 1.2 pixels, halving and doubling, or JPEG of quality 45 to
    95: the strengths an image may meet and still be worth having.

    Args:
        images: ``(N, 3, H, W)`` in [-1, 1].
        draws: Of these images; on the CPU.
    """
    # Runs of the batch, not a draw per image: the shares are then always the same, and images
    # within a batch are exchangeable anyway.
    clean = draws.count // 3
    quarters = [(draws.count - clean + i) // 4 for i in range(4)]
    return dealt(
        draws,
        [
            (clean, lambda rows, _: images[rows]),
            (quarters[0], lambda rows, own: noise(images[rows], own.uniform(0.0, 0.15), own)),
            (quarters[1], lambda rows, own: blur(images[rows], own.uniform(0.4, 1.2))),
            (quarters[2], lambda rows, _: half_resize(images[rows])),
            (quarters[3], lambda rows, own: jpeg(images[rows], own.uniform(45, 95))),
        ],
    )


def noise(images: Tensor, sigma: Tensor, draws: Draws) -> Tensor:
    """Images ``(N, 3, H, W)`` plus white Gaussian noise.

    Args:
        images: In [-1, 1].
        sigma: ``(N,)``, on the scale where white is 1 and black 0.
        draws: Of these images; on the CPU.
    """
    grain = draws.normal(images.shape[1:]).to(images.device)
    return images + grain * (2 * sigma.to(images.device))[:, None, None, None]


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Images under a Gaussian blur of one ``sigma`` each (pixels, ``(N,)``), mirrored borders.

    Each Gaussian ends at its own three deviations, so that no image blurs another's.
    """
    rows = _blur_matrices(images.shape[2], sigma).to(images)
    columns = _blur_matrices(images.shape[3], sigma).to(images)
    return rows[:, None] @ images @ columns[:, None].transpose(2, 3)


def relight(images: Tensor, change: Tensor, draws: Draws) -> Tensor:
    """Images with each colour channel brightened or dimmed, black staying black.

    Args:
        images: ``(N, 3, H, W)`` in [-1, 1].
        change: ``(N,)``, the most that a channel's factor departs from 1.
        draws: Of these images; on the CPU.
    """
    gains = 1 + change[:, None] * draws.uniform(-1, 1, (3,))
    return (images + 1) * gains.to(images)[:, :, None, None] - 1


def half_resize(images: Tensor) -> Tensor:
    """Images halved (pixel areas) and brought back to their size (bilinear)."""
    small = F.avg_pool2d(images, 2)
    return F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)


def crop_resize(images: Tensor, keep: Tensor, draws: Draws) -> Tensor:
    """A square part of each image at a random place, brought back to full size (bilinear).

    Args:
        images: ``(N, 3, H, H)`` in [-1, 1].
        keep: ``(N,)`` share of the side that is kept.
        draws: Of these images; on the CPU.
    """
    offset = draws.uniform(-1, 1, (2,)) * (1 - keep)[:, None]
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = keep
    theta[:, 1, 1] = keep
    theta[:, :, 2] = offset
    grid = F.affine_grid(theta.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def paste(images: Tensor, under: Tensor, keep: Tensor, draws: Draws, *, square: bool) -> Tensor:
    """Images of which only a part survives; the rest is taken from ``under``.

    With ``square`` the part is a square at a random place (HiDDeN's cropout), else single pixels
    (its dropout).

    Args:
        images: ``(N, 3, H, W)`` in [-1, 1].
        under: The same, what replaces the lost part.
        keep: ``(N,)`` share of the area that survives.
        draws: Of these images; on the CPU.
        square: Whether the surviving part is one square.
    """
    if square:
        mask = _rectangles(images, keep.sqrt()[:, None].expand(-1, 2), draws)
    else:
        mask = draws.uniform(shape=(1, *images.shape[2:])) < keep[:, None, None, None]
    return torch.where(mask.to(images.device), images, under)


def _rectangles(images: Tensor, sides: Tensor, draws: Draws) -> Tensor:
    """``(N, 1, H, W)`` bool: a rectangle at a random place; sides ``(N, 2)``, shares of H and W."""
    place = draws.uniform(shape=(2,)) * (1 - sides)
    rows, columns = ((torch.arange(size) + 0.5) / size for size in images.shape[2:])
    inside_rows = (rows >= place[:, :1]) & (rows < place[:, :1] + sides[:, :1])
    inside_columns = (columns >= place[:, 1:]) & (columns < place[:, 1:] + sides[:, 1:])
    return inside_rows[:, None, :, None] & inside_columns[:, None, None, :]


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
    # Else an image's blur would depend on the widest one beside it.
    weights = weights * (offsets.abs()[None] <= torch.ceil(3 * sigma)[:, None])
    weights = weights / weights.sum(1, keepdim=True)
    source = torch.arange(size)[:, None] + offsets[None]
    source = source.abs()
    source = torch.where(source > size - 1, 2 * (size - 1) - source, source)
    # one_hot is (size, taps, size): which pixel each tap of each output pixel reads.
    return torch.einsum("nt,itj->nij", weights, F.one_hot(source, size).to(weights))

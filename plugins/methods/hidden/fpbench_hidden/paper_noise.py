"""HiDDeN's noise layers (Zhu et al. 2018, sec. 3), each with draws of its own for every image.

A layer takes marked images ``(N, 3, H, W)`` in [-1, 1], the same unmarked, and the draws of these
images, on the CPU; it gives what the extractor sees. Their strengths are those of the paper, and of
the recipe "all_noise" in the authors' code where they are combined. There one crop or mask serves
a whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from fpbench.nn.distortions import paste
from fpbench.nn.draws import Draws

__all__ = ["Layer", "blur", "crop", "identity", "jpeg_drop", "jpeg_mask", "kept_shares", "layers"]

Layer = Callable[[Tensor, Tensor, Draws], Tensor]
_BLOCK = 8  # side of JPEG's blocks, pixels
_KEPT = (25, 9, 9)  # coefficients of Y, U and V that JPEG-Mask keeps, of 64
# Rec. 601: luma, and scaled differences of blue and red from it.
_YUV = ((0.299, 0.587, 0.114), (-0.14713, -0.28886, 0.436), (0.615, -0.51499, -0.10001))
# JPEG's tables of quantisation (ISO 10918-1, annex K), luma and chroma.
_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99),
    *(18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)


def layers(name: str) -> list[Layer]:
    """The layers that a training goes through, one a step, again and again.

    Args:
        name: of a layer as the paper trains it alone, or "combined".
    """
    alone: dict[str, Layer] = {
        "identity": identity,
        "crop": partial(_crop, share=0.035),
        "cropout": partial(_mixed, share=0.3, square=True),
        "dropout": partial(_mixed, share=0.3, square=False),
        "gaussian-blur": partial(_blur, sigma=2.0),
        "jpeg-mask": _jpeg_mask,
        "jpeg-drop": partial(_jpeg_drop, quality=50),
    }
    if name != "combined":
        return [alone[name]]
    return [
        identity,
        *(partial(_mixed, share=share, square=False) for share in (0.3, 0.7)),
        *(partial(_mixed, share=share, square=True) for share in (0.3, 0.7)),
        *(partial(_crop, share=share) for share in (0.3, 0.7)),
        *(partial(_blur, sigma=sigma) for sigma in (2.0, 4.0)),
        _jpeg_mask,
        partial(_jpeg_drop, quality=90),
    ]


def crop(images: Tensor, side: int, draws: Draws) -> Tensor:
    """A square ``(N, C, side, side)`` at a random place of each image, not brought back to size.

    Args:
        images: ``(N, C, H, W)``.
        side: At most H and W, pixels.
        draws: Of these images; on the CPU.
    """
    room = torch.tensor([length - side + 1 for length in images.shape[2:]])
    corners = (draws.uniform(shape=(2,)) * room).long().tolist()
    return torch.stack(
        [
            image[:, top : top + side, left : left + side]
            for image, (top, left) in zip(images, corners, strict=True)
        ]
    )


def blur(images: Tensor, sigma: float) -> Tensor:
    """Images under a Gaussian that ends at two deviations; borders are repeated.

    Args:
        images: ``(N, 3, H, W)``.
        sigma: Its deviation, pixels.
    """
    radius = math.ceil(2 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    weights = torch.exp(-(offsets**2) / (2 * sigma**2)).to(images.dtype)
    weights = (weights / weights.sum()).expand(3, 1, -1)
    padded = functional.pad(images, (radius,) * 4, mode="replicate")
    rows = functional.conv2d(padded, weights[..., None], groups=3)
    return functional.conv2d(rows, weights[:, :, None], groups=3)


def jpeg_mask(images: Tensor) -> Tensor:
    """Images of whose 8x8 blocks only the first coefficients are left, in JPEG's zigzag order.

    Args:
        images: ``(N, 3, H, W)``, H and W multiples of 8.

    Returns:
        25 coefficients of Y and 9 of U and V are kept, the others are 0.
    """
    mask = torch.stack([_zigzag() < count for count in _KEPT])
    return _filtered(images, mask[None, :, None, None])


def jpeg_drop(images: Tensor, quality: int, draws: Draws) -> Tensor:
    """Images whose coefficients are lost at random, the sooner the coarser JPEG would round them.

    A coefficient of a block stays with the probability (1 - log(q) / 7)^2, brought between .1 and
    .9, where q is its step of quantisation.

    Args:
        images: ``(N, 3, H, W)``, H and W multiples of 8.
        quality: JPEG's, 1 to 100.
        draws: Of these images; on the CPU.
    """
    blocks = [length // _BLOCK for length in images.shape[2:]]
    chances = draws.uniform(shape=(3, *blocks, _BLOCK, _BLOCK))
    return _filtered(images, chances < kept_shares(quality)[:, None, None])


def kept_shares(quality: int) -> Tensor:
    """``(3, 8, 8)`` how likely a coefficient of Y, U or V stays in `jpeg_drop`."""
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    tables = torch.tensor([_LUMA, _CHROMA, _CHROMA]).view(3, _BLOCK, _BLOCK)
    steps = ((scale * tables + 50) / 100).clamp(1, 128)
    return (1 - steps.log() / 7).square().clamp(0.1, 0.9)


def identity(images: Tensor, covers: Tensor, draws: Draws) -> Tensor:
    """What was marked, as it is."""
    del covers, draws
    return images


def _crop(images: Tensor, covers: Tensor, draws: Draws, *, share: float) -> Tensor:
    """A square of this share of the area."""
    del covers
    height, width = images.shape[2:]
    return crop(images, math.floor(math.sqrt(share * height * width)), draws)


def _mixed(images: Tensor, covers: Tensor, draws: Draws, *, share: float, square: bool) -> Tensor:
    """Marked in this share of the area, one square or single pixels; unmarked elsewhere."""
    return paste(images, covers, torch.full((len(images),), share), draws, square=square)


def _blur(images: Tensor, covers: Tensor, draws: Draws, *, sigma: float) -> Tensor:
    del covers, draws
    return blur(images, sigma)


def _jpeg_mask(images: Tensor, covers: Tensor, draws: Draws) -> Tensor:
    del covers, draws
    return jpeg_mask(images)


def _jpeg_drop(images: Tensor, covers: Tensor, draws: Draws, *, quality: int) -> Tensor:
    del covers
    return jpeg_drop(images, quality, draws)


def _filtered(images: Tensor, mask: Tensor) -> Tensor:
    """Images with the coefficients of their blocks times a mask ``(N or 1, 3, h, w, 8, 8)``."""
    to_yuv = torch.tensor(_YUV, dtype=images.dtype, device=images.device)
    dct = _dct().to(images)
    count, _, height, width = images.shape
    cut = (count, 3, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    blocks = torch.einsum("dc,nchw->ndhw", to_yuv, images).reshape(cut).transpose(3, 4)
    kept = (dct @ blocks @ dct.T) * mask.to(images)
    yuv = (dct.T @ kept @ dct).transpose(3, 4).reshape(images.shape)
    return torch.einsum("dc,nchw->ndhw", torch.linalg.inv(to_yuv), yuv)


def _dct() -> Tensor:
    """``(8, 8)`` orthonormal: row k is the cosine of frequency k (DCT-II)."""
    k, place = torch.arange(_BLOCK)[:, None], torch.arange(_BLOCK)[None]
    rows = torch.cos(math.pi * k * (2 * place + 1) / (2 * _BLOCK)) / 2
    return torch.where(k == 0, rows / math.sqrt(2), rows)


def _zigzag() -> Tensor:
    """``(8, 8)`` the place of each coefficient in JPEG's zigzag, from 0."""

    def place(at: tuple[int, int]) -> tuple[int, int]:
        row, column = at
        diagonal = row + column
        return diagonal, row if diagonal % 2 else column

    order = sorted(((r, c) for r in range(_BLOCK) for c in range(_BLOCK)), key=place)
    found = torch.empty(_BLOCK, _BLOCK, dtype=torch.long)
    for number, (row, column) in enumerate(order):
        found[row, column] = number
    return found

"""What copies meet in robust training (Kim, Ren and Yang, sec. 4.2), at its strengths."""

from __future__ import annotations

import torch
from torch import Tensor

from fpbench.nn.distortions import blur, crop_resize, jpeg, noise
from fpbench.nn.draws import Draws

__all__ = ["distort"]


def distort(images: Tensor, family: str, draws: Draws) -> Tensor:
    """Images of which each meets a distortion with probability 1/2.

    Args:
        images: ``(N, 3, H, W)`` in [-1, 1].
        family: "blur" (sigma of 1/3 to 3 pixels), "crop" (80 to 100 % of the side kept, at a random
            place), "noise" (sigma to 0.15 of the range), "jpeg" (quality 50 to 95), or
            "combination": these in a row, its noise to 0.05.
        draws: Of these images; on the CPU.
    """
    combined = family == "combination"
    for each in ("blur", "crop", "noise", "jpeg") if combined else (family,):
        chosen = (draws.uniform() < 0.5).to(images.device)
        changed = _apply(images, each, draws, most_noise=0.05 if combined else 0.15)
        images = torch.where(chosen[:, None, None, None], changed, images)
    return images


def _apply(images: Tensor, family: str, draws: Draws, *, most_noise: float) -> Tensor:
    if family == "blur":
        return blur(images, draws.uniform(1 / 3, 3))
    if family == "crop":
        return crop_resize(images, draws.uniform(0.8, 1), draws)
    if family == "noise":
        return noise(images, draws.uniform(0, most_noise), draws).clamp(-1, 1)
    return jpeg(images, draws.uniform(50, 95))

"""What stands between generator and reader in immunised training (Yu et al. 2022, sec. 4).

One family for a training; the strength of each image is drawn from nothing to the family's most.
The grid is fpbench's own: the paper's ranges were never published in code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fpbench.nn.distortions import blur, crop_resize, jpeg, noise, relight, uniform

__all__ = ["perturbed"]

_SINGLE = ("crop", "noise", "blur", "jpeg", "relight")


def perturbed(images: Tensor, family: str, rng: torch.Generator) -> Tensor:
    """Images under a random perturbation of one family.

    Args:
        images: ``(N, 3, H, W)`` in [-1, 1].
        family: "crop" (half to the whole side kept), "noise" (sigma to 0.2 of the range), "blur"
            (sigma to 1/32 of the side), "jpeg" (quality 30 to 100), "relight" (a channel's factor
            0.5 to 1.5), or "combination": each of the five with probability 1/2.
        rng: On the CPU.
    """
    if family != "combination":
        return _apply(images, family, rng)
    for each in _SINGLE:
        chosen = (torch.rand(len(images), generator=rng) < 0.5).to(images.device)
        changed = _apply(images, each, rng)
        images = torch.where(chosen[:, None, None, None], changed, images)
    return images


def _apply(images: Tensor, family: str, rng: torch.Generator) -> Tensor:
    count, side = len(images), images.shape[-1]
    if family == "crop":
        return crop_resize(images, uniform(count, 0.5, 1.0, rng), rng)
    if family == "noise":
        return noise(images, uniform(count, 0.0, 0.2, rng), rng).clamp(-1, 1)
    if family == "blur":
        return blur(images, uniform(count, 0.05, side / 32, rng))
    if family == "jpeg":
        return jpeg(images, uniform(count, 30, 100, rng))
    return relight(images, uniform(count, 0.0, 0.5, rng), rng).clamp(-1, 1)

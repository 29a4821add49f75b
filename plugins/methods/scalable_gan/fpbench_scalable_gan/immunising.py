"""What stands between generator and reader in immunised training (Yu et al. 2022, sec. 4).

One family for a training; the strength of each image is drawn from nothing to the family's most.
The grid is fpbench's own: the paper's ranges were never published in code. The attack `combination`
with parts = "five" evaluates the same five.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fpbench.nn.distortions import blur, crop_resize, jpeg, noise, relight
from fpbench.nn.draws import Draws

__all__ = ["perturbed"]

_SINGLE = ("crop", "noise", "blur", "jpeg", "relight")


def perturbed(images: Tensor, family: str, draws: Draws) -> Tensor:
    """Images under a random perturbation of one family.

    Args:
        images: ``(N, 3, H, W)`` in [-1, 1].
        family: "crop" (half to the whole side kept), "noise" (sigma to 0.2 of the range), "blur"
            (sigma to 1/32 of the side), "jpeg" (quality 30 to 100), "relight" (a channel's factor
            0.5 to 1.5), or "combination": each of the five with probability 1/2.
        draws: Of these images; on the CPU.
    """
    if family != "combination":
        return _apply(images, family, draws)
    for each in _SINGLE:
        chosen = (draws.uniform() < 0.5).to(images.device)
        changed = _apply(images, each, draws)
        images = torch.where(chosen[:, None, None, None], changed, images)
    return images


def _apply(images: Tensor, family: str, draws: Draws) -> Tensor:
    if family == "crop":
        return crop_resize(images, draws.uniform(0.5, 1.0), draws)
    if family == "noise":
        return noise(images, draws.uniform(0.0, 0.2), draws).clamp(-1, 1)
    if family == "blur":
        return blur(images, draws.uniform(0.05, images.shape[-1] / 32))
    if family == "jpeg":
        return jpeg(images, draws.uniform(30, 100))
    return relight(images, draws.uniform(0.0, 0.5), draws).clamp(-1, 1)

"""How unlike two batches of samples are, for training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fpbench.api import MissingResource

if TYPE_CHECKING:
    from fpbench_wouaf.params import WouafParams

__all__ = ["likeness_of"]


def likeness_of(
    params: WouafParams, device: torch.device, *, relative: bool = False
) -> Callable[[Tensor, Tensor], Tensor]:
    """Squared difference, or LPIPS by the weights that are named: (samples, targets) -> scalar.

    Args:
        params: settings.
        device: where samples are.
        relative: whether the difference is one over each target's mean square, as of sounds, which
            may be loud or faint; silence counts as one of -60 dB.

    Raises:
        MissingResource: the package lpips is not installed, or the file is not there.
        WrongWeights: the file is of another network.
    """
    if relative:
        return _relative
    if not params.perceptual:
        return lambda images, targets: (images - targets).square().mean()
    if not Path(params.perceptual).is_file():
        raise MissingResource(
            f"method wouaf: expected torchvision's weights of {params.perceptual_net} at "
            f"{params.perceptual}, got no file there; bring it, or leave `perceptual` empty"
        )
    from fpbench.backbones.perceptual import network

    compare = network(params.perceptual_net, Path(params.perceptual)).eval()
    compare = compare.to(device).requires_grad_(False)
    return lambda images, targets: compare(images, targets).mean()


def _relative(sounds: Tensor, targets: Tensor) -> Tensor:
    error, power = ((x.square().flatten(1).mean(1)) for x in (sounds - targets, targets))
    return (error / power.clamp_min(1e-6)).mean()

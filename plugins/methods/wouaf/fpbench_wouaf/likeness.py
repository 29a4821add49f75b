"""How unlike two batches of images are, for training."""

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


def likeness_of(params: WouafParams, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """Squared difference, or LPIPS by the weights that are named: (images, targets) -> scalar.

    Raises:
        MissingResource: the package lpips is not installed, or the file is not there.
        WrongWeights: the file is of another network.
    """
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

"""How unlike two batches of images are, for training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fpbench.api import ContractError, MissingResource

if TYPE_CHECKING:
    from fpbench_wouaf.params import WouafParams

__all__ = ["likeness_of"]


def likeness_of(params: WouafParams, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """Squared difference, or LPIPS by the weights that are named: (images, targets) -> scalar.

    Raises:
        MissingResource: the package lpips is not installed.
        ContractError: the weights are of another network.
    """
    if not params.perceptual:
        return lambda images, targets: (images - targets).square().mean()
    try:
        import lpips
    except ImportError as error:
        raise MissingResource(
            "method wouaf: expected the package lpips for `perceptual`, got none; install it with "
            "`pip install fpbench[backbones]`"
        ) from error
    network = lpips.LPIPS(net=params.perceptual_net, pnet_rand=True, verbose=False).eval()
    # What torchvision numbers, LPIPS puts into slices.
    found = torch.load(params.perceptual, map_location="cpu", weights_only=True)  # noqa: TID251
    own = network.net.state_dict()
    try:
        network.net.load_state_dict({k: found["features." + k.partition(".")[2]] for k in own})
    except (KeyError, RuntimeError) as error:
        raise ContractError(
            f"method wouaf: expected torchvision's weights of {params.perceptual_net} in "
            f"`perceptual`, got others ({error}); name their file"
        ) from error
    network = network.to(device).requires_grad_(False)
    return lambda images, targets: network(images, targets).mean()

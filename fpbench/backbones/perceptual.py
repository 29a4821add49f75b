"""LPIPS of pairs of 8-bit images (Zhang et al. 2018), version 0.1, by the package of its authors.

The heads come with the package, the network below them from a weight file. Letters: N pairs, H and
W in pixels.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fpbench.api.images import to_float
from fpbench.backbones.weights import WrongWeights, library, read

__all__ = ["Net", "Perceptual", "network"]

Net = Literal["squeeze", "alex", "vgg"]

# Pixels of one batch in flight: 64 pairs of 64 x 64.
_BATCH_PIXELS = 2**18


def network(net: Net, path: Path) -> Any:
    """LPIPS as a module of float images (N, 3, H, W) in [-1, 1], with a gradient.

    Args:
        net: Which network compares.
        path: Of the weights that torchvision publishes for it.

    Raises:
        MissingResource: lpips is not installed.
        WrongWeights: The file is not of this network, or not finite.
    """
    lpips, state = library("lpips"), read(path)
    # The random weights, replaced below, are drawn from nobody's generator.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # lpips 0.1.4 names its wish for random weights as torchvision did before 0.13.
        for text in ("The parameter 'pretrained' is deprecated", "Arguments other than a weight"):
            warnings.filterwarnings("ignore", text, UserWarning, "torchvision")
        made = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    # Its slices number the layers as torchvision's `features` does: slice2.3.bias, features.3.bias.
    names = {key: f"features.{key.partition('.')[2]}" for key in made.net.state_dict()}
    try:
        made.net.load_state_dict({key: state[name] for key, name in names.items()})
    except (KeyError, RuntimeError) as error:
        raise WrongWeights(
            f"weights {path}: expected torchvision's network for LPIPS {net}, got other tensors: "
            f"{error}; bring another file"
        ) from error
    for key, value in made.net.state_dict().items():
        if not torch.isfinite(value).all():
            raise WrongWeights(
                f"weights {path}: expected finite values, got nan or infinity in {names[key]}; "
                "bring another file"
            )
    return made


class Perceptual:
    """(N, 3, H, W) uint8 twice -> (N,) float64: the distance of each pair, 0 for equal images.

    Args:
        net: Which network compares.
        path: Of the weights that torchvision publishes for it.
        device: Where it computes.

    Raises:
        MissingResource: lpips is not installed.
        WrongWeights: The file is not of this network, or not finite.
    """

    def __init__(self, net: Net, path: Path, device: torch.device) -> None:
        self._network = network(net, path).requires_grad_(False).to(device)
        self._device = device

    @torch.inference_mode()
    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """The distance of each pair.

        Args:
            a: `(N, 3, H, W)` uint8, at least 32 pixels high and wide; brought to the device.
            b: `(N, 3, H, W)` uint8.

        Returns:
            `(N,)` float64 >= 0 on the network's device.

        Raises:
            ValueError: The batches are not uint8 images of one shape, or too small.
        """
        _check_pair(a, b)
        pairs = max(1, _BATCH_PIXELS // (a.shape[2] * a.shape[3]))
        distances = [
            self._network(to_float(x.to(self._device)), to_float(y.to(self._device))).flatten()
            for x, y in zip(torch.split(a, pairs), torch.split(b, pairs), strict=True)
        ]
        return torch.cat(distances).to(torch.float64)


def _check_pair(a: Tensor, b: Tensor) -> None:
    shapes = f"{tuple(a.shape)} of {a.dtype} and {tuple(b.shape)} of {b.dtype}"
    if a.dtype != torch.uint8 or b.dtype != torch.uint8 or a.shape != b.shape:
        msg = f"lpips: expected two batches (N, 3, H, W) of uint8, got {shapes}"
        raise ValueError(msg)
    if a.ndim != 4 or a.shape[1] != 3 or not len(a) or min(a.shape[-2:]) < 32:
        msg = f"lpips: expected images (N, 3, H, W) of at least 32 pixels a side, got {shapes}"
        raise ValueError(msg)

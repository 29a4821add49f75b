"""The network that reads codes: small, or a ResNet-50 as published."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fpbench.api import MissingResource

if TYPE_CHECKING:
    from fpbench_wouaf.params import WouafParams

__all__ = ["build", "enlarged"]

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALVINGS = 3  # from the image to the last map of the small reader: an eighth of the side


class SmallReader(nn.Module):
    """Strided convolutions and one linear layer over the whole of the last map.

    Normalised by groups of channels within one image, so that an image reads the same alone or in
    company. One that averaged over positions reads less: a code is not at every place alike.

    Args:
        side: of the images, a multiple of 8 pixels.
        bits: K.
        channels: of the first convolution; later ones have twice and three times as many.
    """

    def __init__(self, side: int, bits: int, channels: int) -> None:
        super().__init__()
        widths = [12, channels, 2 * channels, 3 * channels]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=1 if i == 0 else 2, padding=1, bias=False)
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for width in widths[1:])
        self.out = nn.Linear((side >> _HALVINGS) ** 2 * widths[-1], bits)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 3, H, W) in [-1, 1]."""
        x = nn.functional.pixel_unshuffle(images, 2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = nn.functional.leaky_relu(norm(conv(x)), 0.2)
        logits: Tensor = self.out(x.flatten(1))
        return logits


class ResNetReader(nn.Module):
    """A ResNet-50 with as many outputs as bits, on images as ImageNet's are normalised.

    Its weights are drawn: those of ImageNet are not part of fpbench. Batch statistics are those of
    the training once it reads for good.

    Args:
        bits: K.

    Raises:
        MissingResource: torchvision is not installed.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        try:
            from torchvision.models import resnet50
        except ImportError as error:
            raise MissingResource(
                'method wouaf: expected the package torchvision for reader = "resnet50", got '
                "none; install it with `pip install torchvision`"
            ) from error
        self.network: nn.Module = resnet50(weights=None, num_classes=bits)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 3, H, W) in [-1, 1]."""
        x = (images.add(1).div(2) - self.mean) / self.deviation
        logits: Tensor = self.network(x)
        return logits


def build(side: int, params: WouafParams) -> nn.Module:
    """The reader of images of a side, with weights as they are drawn."""
    if params.reader == "resnet50":
        return ResNetReader(params.bits)
    return SmallReader(side, params.bits, params.reader_channels)


@torch.no_grad()
def enlarged(small: nn.Module, side: int, params: WouafParams) -> nn.Module:
    """A reader of images of twice the side that goes on from one of their quarters.

    Its linear layer takes the mean of what the smaller one would say of the four quarters.
    """
    large = build(side, params)
    state = dict(small.state_dict())
    if isinstance(small, SmallReader):
        weight = small.out.weight
        edge = (side >> _HALVINGS) // 2
        maps = weight.view(params.bits, -1, edge, edge).repeat(1, 1, 2, 2) / 4
        state["out.weight"] = maps.flatten(1)
    large.load_state_dict(state)
    return large

"""HiDDeN's embedder (Zhu, Kaplan, Johnson, Fei-Fei, ECCV 2018, sec. 3), at half resolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpbench.nn.channels import Axis, Channels, inputs, outputs

__all__ = ["Embedder"]

_CODE_SIZE = 8
_BLOCKS = 8


class Embedder(nn.Module):
    """Adds a small, bounded residual that carries a code to any image.

    As in the paper, the code joins the features and the image itself in one stack of channels.
    Other than there, a dense layer spreads it over 8x8 places first (as StegaStamp does, Tancik et
    al., CVPR 2020): repeating it at every place, as the paper does, needs many epochs until places
    differ. Blocks of 2x2 pixels are channels (a quarter of the cost), normalisation is by groups
    within an image (no batch statistics), and the output is the image plus a residual within
    ``+-strength`` instead of a free image.

    Args:
        bits: Length of a code, K.
        channels: Channels of every block.
        strength: Largest change of a value, on images in [-1, 1].
        scaled: Whether the change is multiplied by a buffer, ``loudness``, which is 1 at first.
    """

    loudness: Tensor

    def __init__(self, *, bits: int, channels: int, strength: float, scaled: bool = False) -> None:
        super().__init__()
        self.width = channels
        self.strength = strength
        if scaled:
            self.register_buffer("loudness", torch.ones(()))
        self.scaled = scaled
        self.spread = nn.Linear(bits, channels * _CODE_SIZE**2)
        nn.init.normal_(self.spread.weight, std=bits**-0.5)
        nn.init.zeros_(self.spread.bias)
        self.before = _block(12, channels)
        self.after = nn.Sequential(
            _block(2 * channels + 12, channels),
            _block(channels, channels),
            nn.Conv2d(channels, 12, 1),
        )

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """Marked images ``(N, 3, H, W)`` from images in [-1, 1] and codes ``(N, K)`` bool."""
        x = functional.pixel_unshuffle(images, 2)
        signs = codes.to(x.dtype) * 2 - 1
        planes = self.spread(signs).view(-1, self.width, _CODE_SIZE, _CODE_SIZE)
        planes = functional.interpolate(planes, size=x.shape[2:], mode="nearest")
        residual = self.after(torch.cat([planes, self.before(x), x], 1))
        change = self.strength * functional.pixel_shuffle(torch.tanh(residual), 2)
        return images + (self.loudness * change if self.scaled else change)

    def channels(self) -> tuple[Channels, ...]:
        """Its hidden channels; see `fpbench.nn.channels`."""
        count, first = self.width, "after.0.0"
        planes = (*outputs("spread", self.spread, width=_CODE_SIZE**2), inputs(first))
        return (
            Channels(count, planes, positive=True, negative=True),
            _hidden(count, "before", inputs(first, first=count)),
            _hidden(count, "after.0", inputs("after.1.0")),
            _hidden(count, "after.1", inputs("after.2")),
        )


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.GroupNorm(_BLOCKS, out_channels),
        nn.ReLU(),
    )


def _hidden(count: int, block: str, reader: Axis) -> Channels:
    """The channels that a block makes; factors enter behind its norm."""
    norm = (Axis(f"{block}.1.weight", 0, 1), Axis(f"{block}.1.bias", 0, 1))
    axes = (Axis(f"{block}.0.weight", 0, 0), *norm, reader)
    return Channels(count, axes, positive=True, blocks=_BLOCKS)

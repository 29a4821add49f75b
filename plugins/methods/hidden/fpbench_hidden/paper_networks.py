"""HiDDeN's networks as published (Zhu, Kaplan, Johnson, Fei-Fei, ECCV 2018, sec. 3).

Depths, widths and names are those of the public PyTorch implementation, so that its checkpoints
fit; see `fpbench_hidden.layout`. All are fully convolutional: any size is marked and read.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fpbench.nn.channels import Axis, Channels, inputs
from fpbench_hidden.layout import BLOCKS_BEFORE, BLOCKS_READER

__all__ = ["Adversary", "Extractor", "PaperEmbedder"]

_BLOCKS_ADVERSARY = 3


class Block(nn.Module):
    """Convolution of 3x3, batch normalisation, ReLU: ``(N, I, H, W)`` to ``(N, O, H, W)``."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        made: Tensor = self.layers(x)
        return made


class PaperEmbedder(nn.Module):
    """Draws a marked image from an image and a code that is repeated at every pixel.

    Four blocks see the image; their features, the image and the code's K planes go through one
    block more and a convolution of 1x1, whose three channels are the marked image itself, in no way
    bounded.

    Args:
        bits: Length of a code, K.
        channels: Channels of every block.
    """

    def __init__(self, *, bits: int, channels: int) -> None:
        super().__init__()
        self.bits = bits
        self.width = channels
        self.conv_layers = _blocks(BLOCKS_BEFORE, channels)
        self.after_concat_layer = Block(bits + channels + 3, channels)
        self.final_layer = nn.Conv2d(channels, 3, 1)

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """Marked images ``(N, 3, H, W)`` from images in [-1, 1] and codes ``(N, K)`` bool."""
        planes = codes.to(images.dtype)[:, :, None, None].expand(-1, -1, *images.shape[2:])
        x = torch.cat([planes, self.conv_layers(images), images], 1)
        marked: Tensor = self.final_layer(self.after_concat_layer(x))
        return marked

    def channels(self) -> tuple[Channels, ...]:
        """Its hidden channels; see `fpbench.nn.channels`."""
        after = "after_concat_layer.layers.0"
        names = [f"conv_layers.{index}" for index in range(BLOCKS_BEFORE)]
        readers = [inputs(f"{name}.layers.0") for name in names[1:]]
        readers.append(inputs(after, first=self.bits))
        names.append("after_concat_layer")
        readers.append(inputs("final_layer"))
        return tuple(map(self._hidden, names, readers))

    def _hidden(self, block: str, reader: Axis) -> Channels:
        """The channels that a block makes; factors enter behind its norm."""
        held = {"0.weight": 0, "0.bias": 0, "1.running_mean": 0, "1.running_var": 0}
        held |= {"1.weight": 1, "1.bias": 1}
        axes = (Axis(f"{block}.layers.{name}", 0, power) for name, power in held.items())
        return Channels(self.width, (*axes, reader), positive=True)


class Extractor(nn.Module):
    """Reads a code from images of any size: its features are averaged over all places.

    Args:
        bits: Length of a code, K.
        channels: Channels of every block but the last, which has one for each bit.
    """

    def __init__(self, *, bits: int, channels: int) -> None:
        super().__init__()
        self.layers = _blocks(BLOCKS_READER, channels)
        self.layers.append(Block(channels, bits))
        self.linear = nn.Linear(bits, bits)

    def forward(self, images: Tensor) -> Tensor:
        """``(N, K)``, near 1 where a bit is set and near 0 where not, of images in [-1, 1]."""
        bits: Tensor = self.linear(self.layers(images).mean((2, 3)))
        return bits


class Adversary(nn.Module):
    """Tells images from marked ones.

    Args:
        channels: Channels of every block.
    """

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.before_linear = _blocks(_BLOCKS_ADVERSARY, channels)
        self.linear = nn.Linear(channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, 1)``, above 0 for an unmarked image, of images in [-1, 1]."""
        logits: Tensor = self.linear(self.before_linear(images).mean((2, 3)))
        return logits


def _blocks(count: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*(Block(channels if i else 3, channels) for i in range(count)))

"""A small skip generator in the shape of StyleGAN2 (Karras et al., CVPR 2020, sec. 4).

Each resolution has a few 3x3 convolutions and a 1x1 convolution to RGB whose output is added to the
upsampled image of the resolution below. The last resolution computed is half the image size: its
RGB layer has 12 channels that are shuffled to twice the size, since convolutions at full size would
cost four times as much and a cartoon face of 32 pixels gains little by them.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpbench.nn.channels import Ends, stacked
from fpbench.nn.draws import Draws
from fpbench.nn.equalised import activate, lifted
from fpbench.nn.modulation import (
    Affine,
    ModulatedConv,
    fold_constant_style,
    plain_ends,
    styled_ends,
)
from fpbench.nn.resampling import upsample

__all__ = ["ENTRY_SIZE", "PlainLayer", "SkipSynthesis", "StyledLayer"]

ENTRY_SIZE = 4
"""Height and width of the features that enter the first stage."""


class StyledLayer(nn.Module):
    """A modulated convolution with its own style map and, unless it makes RGB, an activation.

    Args:
        in_channels: C.
        out_channels: O.
        style_dim: Size of the embedding that drives the style, D.
        rgb: A 1x1 layer without demodulation and activation instead of a 3x3 layer with both.
        style_gain: Standard deviation of the styles at the start.
    """

    def __init__(
        self, in_channels: int, out_channels: int, style_dim: int, *, rgb: bool, style_gain: float
    ) -> None:
        super().__init__()
        self.affine = Affine(style_dim, in_channels, gain=style_gain)
        self.conv = ModulatedConv(
            in_channels, out_channels, kernel=1 if rgb else 3, demodulate=not rgb
        )
        self.rgb = rgb

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Features ``(N, O, H, W)`` from features ``(N, C, H, W)`` and embeddings ``(N, D)``."""
        y = self.conv(x, self.affine(w))
        return lifted(y) if self.rgb else activate(y)

    def folded(self, w: Tensor) -> PlainLayer:
        """What it is for one constant embedding ``(D,)``."""
        conv = fold_constant_style(self.conv, self.affine(w[None])[0])
        return PlainLayer(conv, rgb=self.rgb)

    def ends(self) -> Ends:
        """Its hidden channels."""
        return styled_ends(self.conv)


class PlainLayer(nn.Module):
    """What a `StyledLayer` becomes for one constant embedding: an ordinary convolution."""

    def __init__(self, conv: nn.Conv2d, *, rgb: bool) -> None:
        super().__init__()
        self.conv = conv
        self.rgb = rgb

    def forward(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Features ``(N, O, H, W)`` from features ``(N, C, H, W)``; the embedding is not used."""
        y: Tensor = self.conv(x)
        return lifted(y) if self.rgb else activate(y)

    def ends(self) -> Ends:
        """Its hidden channels."""
        return plain_ends(self.conv)


class SkipSynthesis(nn.Module):
    """Images from 4x4 features and one embedding per sample that drives the style of every layer.

    Args:
        image_size: Side of the images, a power of two from 16.
        channels: Channels of every stage, C.
        style_dim: Size of the embedding, D.
        style_gain: Standard deviation of the styles at the start, about a mean of 1.
    """

    def __init__(
        self, *, image_size: int, channels: int, style_dim: int, style_gain: float = 1.0
    ) -> None:
        super().__init__()
        stages = int(math.log2(image_size)) - 2
        if image_size != ENTRY_SIZE * 2**stages or stages < 2:
            raise ValueError(f"image_size must be a power of two from 16, got {image_size}")
        self.convs = nn.ModuleList()
        self.rgbs = nn.ModuleList()
        for stage in range(stages):
            # Most of what is visible is decided at the last stage; the first has 16 pixels only.
            depth = 1 if stage == 0 else 3 if stage == stages - 1 else 2
            layers = [
                StyledLayer(channels, channels, style_dim, rgb=False, style_gain=style_gain)
                for _ in range(depth)
            ]
            self.convs.append(nn.ModuleList(layers))
            out = 12 if stage == stages - 1 else 3
            self.rgbs.append(StyledLayer(channels, out, style_dim, rgb=True, style_gain=style_gain))

    def forward(self, x: Tensor, w: Tensor | None = None, draws: Draws | None = None) -> Tensor:
        """Images ``(N, 3, H, W)`` from features ``(N, C, 4, 4)`` and embeddings ``(N, D)``.

        Nominally in [-1, 1]. The embedding may be left out only when every layer is plain (see
        `folded`). There are no noise inputs to draw for.
        """
        del draws
        image: Tensor | None = None
        for layers, to_rgb in zip(self.convs, self.rgbs, strict=True):
            if image is not None:
                x, image = upsample(x), upsample(image)
            assert isinstance(layers, nn.ModuleList)
            for layer in layers:
                x = layer(x, w)
            rgb = to_rgb(x, w)
            if rgb.shape[1] != 3:
                rgb = F.pixel_shuffle(rgb, 2)
                image = None if image is None else upsample(image)
            image = rgb if image is None else image + rgb
        assert image is not None
        return image

    @torch.no_grad()
    def folded(self, w: Tensor) -> SkipSynthesis:
        """A copy for one constant embedding ``(D,)``: ordinary convolutions, no style maps."""

        def fold(layers: nn.Module) -> nn.ModuleList:
            return nn.ModuleList(layer.folded(w) for layer in _styled(layers))

        plain = SkipSynthesis.__new__(SkipSynthesis)
        nn.Module.__init__(plain)
        plain.convs = nn.ModuleList(fold(layers) for layers in self.convs)
        plain.rgbs = fold(self.rgbs)
        return plain.train(self.training)

    def ends(self) -> Ends:
        """Its hidden channels; those that it reads are the features', its styles the embedding."""
        layers: list[tuple[Ends, list[Ends]]] = []
        for stage, (convs, rgb) in enumerate(zip(self.convs, self.rgbs, strict=True)):
            for index, layer in enumerate(convs.children()):
                assert isinstance(layer, StyledLayer | PlainLayer)
                layers.append((layer.ends().at(f"convs.{stage}.{index}"), []))
            assert isinstance(rgb, StyledLayer | PlainLayer)
            layers[-1][1].append(rgb.ends().at(f"rgbs.{stage}"))
        return stacked(layers)


def _styled(layers: nn.Module) -> list[StyledLayer]:
    return [layer for layer in layers.children() if isinstance(layer, StyledLayer)]

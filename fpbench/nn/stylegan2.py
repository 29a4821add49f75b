"""StyleGAN2 (Karras et al., CVPR 2020): skip generator, residual discriminator, path lengths.

What Yu et al. (ICLR 2022) build on. `fpbench.nn.synthesis` and `fpbench.nn.discriminator` are small
networks in this shape for minutes on a CPU.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fpbench.nn.channels import Channels, Ends, inputs, outputs, stacked
from fpbench.nn.discriminator import minibatch_deviation
from fpbench.nn.draws import Draws
from fpbench.nn.equalised import EqualConv, EqualLinear, activate, in_full, lifted
from fpbench.nn.modulation import (
    Affine,
    ModulatedConv,
    fold_constant_style,
    plain_ends,
    styled_ends,
)
from fpbench.nn.resampling import upsample
from fpbench.nn.synthesis import ENTRY_SIZE

__all__ = [
    "Mapping",
    "ResidualTrunk",
    "StyleSynthesis",
    "path_lengths",
    "stage_widths",
]


def stage_widths(image_size: int, *, base: int = 16384, most: int = 512) -> list[int]:
    """Channels at 4, 8, … ``image_size`` pixels: ``base / side``, at most ``most``.

    The defaults are the authors' fmap_base = 8192 and fmap_max = 512.

    Raises:
        ValueError: the side is no power of two from 16.
    """
    stages = image_size.bit_length() - 2
    if image_size != ENTRY_SIZE << (stages - 1) or stages < 3:
        raise ValueError(f"image_size must be a power of two from 16, got {image_size}")
    return [max(1, min(most, base // (ENTRY_SIZE << stage))) for stage in range(stages)]


class Mapping(nn.Module):
    """Eight fully connected layers (by default) that learn a hundred times slower than the rest.

    Args:
        in_features: Size of a latent or code.
        width: Size of the embedding and of every layer.
        layers: How many.
        normalise: Bring inputs to unit mean square first, as StyleGAN2 does with latents.
    """

    def __init__(
        self, in_features: int, width: int, *, layers: int = 8, normalise: bool = False
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.width = width
        self.layers = nn.ModuleList(
            EqualLinear(width if index else in_features, width, multiplier=0.01)
            for index in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(N, width)`` of ``(N, in_features)``, never in 16 bits."""
        with in_full(x):
            if self.normalise:
                x = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)
            for layer in self.layers:
                x = activate(layer(x))
        return x

    def ends(self) -> Ends:
        """Its hidden channels; it writes the embedding."""
        names = [f"layers.{index}" for index in range(len(self.layers))]
        made = [outputs(name, self.get_submodule(name)) for name in names]
        own = tuple(
            Channels(self.width, (*axes, inputs(behind)), positive=True)
            for axes, behind in zip(made[:-1], names[1:], strict=True)
        )
        return Ends(writes=made[-1], own=own, count=self.width)


class StyledConv(nn.Module):
    """A modulated 3x3 convolution with its style map, noise of a learnt strength, an activation.

    In training the noise is drawn anew; in eval mode it is the same for every image, so that an
    image depends on its latent alone.

    Args:
        in_channels: C.
        out_channels: O.
        style_dim: Size of the embedding that drives the style, D.
        side: Of the output, pixels.
        up: Whether the output has twice the side of the input.
    """

    noise: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, style_dim: int, *, side: int, up: bool
    ) -> None:
        super().__init__()
        self.affine = Affine(style_dim, in_channels, equalised=True)
        self.conv = ModulatedConv(in_channels, out_channels, equalised=True, up=up)
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(side, side))

    def forward(self, x: Tensor, w: Tensor, draws: Draws | None = None) -> Tensor:
        """Features ``(N, O, side, side)`` from features ``(N, C, H, W)`` and embeddings (N, D)."""
        y = self.conv(x, self.affine(w))
        if not self.training:
            noise = self.noise
        elif draws is None:
            noise = torch.randn_like(y[:, :1])
        else:
            noise = draws.normal((1, *y.shape[2:]))
        return activate(y + (noise * self.strength).to(y.dtype))

    def ends(self) -> Ends:
        """Its hidden channels."""
        return styled_ends(self.conv)


class PlainConv(nn.Module):
    """What a `StyledConv` becomes for one constant embedding: an ordinary convolution."""

    noise: Tensor

    def __init__(self, conv: nn.Conv2d, noise: Tensor) -> None:
        super().__init__()
        self.conv = conv
        self.register_buffer("noise", noise)

    def forward(self, x: Tensor, w: Tensor | None = None, draws: Draws | None = None) -> Tensor:
        """Features from features; embedding and draws are not used."""
        del w, draws
        return activate(self.conv(x) + self.noise)

    def ends(self) -> Ends:
        """Its hidden channels: noise is added to all of them alike, so that none can be scaled."""
        return plain_ends(self.conv, scales=not self.noise.any())


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to three channels, without demodulation."""

    def __init__(self, in_channels: int, style_dim: int) -> None:
        super().__init__()
        self.affine = Affine(style_dim, in_channels, equalised=True)
        self.conv = ModulatedConv(in_channels, 3, kernel=1, demodulate=False, equalised=True)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)``; in 16 bits, their sum over resolutions would lose levels."""
        image: Tensor = self.conv(x, self.affine(w))
        return lifted(image)

    def ends(self) -> Ends:
        """Its hidden channels."""
        return styled_ends(self.conv)


class PlainRGB(nn.Module):
    """What `ToRGB` becomes for one constant embedding."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Images ``(N, 3, H, W)``; the embedding is not used."""
        del w
        image: Tensor = self.conv(x)
        return image

    def ends(self) -> Ends:
        """Its hidden channels."""
        return plain_ends(self.conv)


class StyleSynthesis(nn.Module):
    """The skip generator: images from 4x4 features and one embedding for each layer.

    Args:
        image_size: Side of the images, a power of two from 16.
        widths: Channels of every resolution (`stage_widths`).
        style_dim: Size of an embedding, D.

    Attributes:
        layers: Number of embeddings that an image may have, L = 2 log2(image_size) - 2.
    """

    def __init__(self, *, image_size: int, widths: list[int], style_dim: int) -> None:
        super().__init__()
        self.layers = 2 * len(widths)
        self.convs = nn.ModuleList()
        self.rgbs = nn.ModuleList()
        for stage, width in enumerate(widths):
            side = ENTRY_SIZE << stage
            assert side <= image_size
            if stage:
                before = widths[stage - 1]
                self.convs.append(StyledConv(before, width, style_dim, side=side, up=True))
            self.convs.append(StyledConv(width, width, style_dim, side=side, up=False))
            self.rgbs.append(ToRGB(width, style_dim))

    def forward(self, x: Tensor, w: Tensor | None = None, draws: Draws | None = None) -> Tensor:
        """Images ``(N, 3, H, W)``, nominally in [-1, 1].

        Args:
            x: Features ``(N, C, 4, 4)``.
            w: Embeddings ``(N, D)`` for all layers, or ``(N, L, D)``; None where all is folded.
            draws: Of these images, for the noise inputs in training; on the images' device. Left
                out, noise comes from torch's global generator.
        """

        def style(index: int) -> Tensor | None:
            return w if w is None or w.ndim == 2 else w[:, index]

        x = self.convs[0](x, style(0), draws)
        image: Tensor = self.rgbs[0](x, style(1))
        for stage in range(1, len(self.rgbs)):
            x = self.convs[2 * stage - 1](x, style(2 * stage - 1), draws)
            x = self.convs[2 * stage](x, style(2 * stage), draws)
            image = upsample(image) + self.rgbs[stage](x, style(2 * stage + 1))
        return image

    @torch.no_grad()
    def folded(self, w: Tensor) -> StyleSynthesis:
        """A copy for one constant embedding ``(D,)``: ordinary convolutions, no style maps."""
        plain = StyleSynthesis.__new__(StyleSynthesis)
        nn.Module.__init__(plain)
        plain.layers = self.layers
        plain.convs, plain.rgbs = nn.ModuleList(), nn.ModuleList()
        for layer in self.convs:
            assert isinstance(layer, StyledConv)
            conv = fold_constant_style(layer.conv, layer.affine(w[None])[0])
            plain.convs.append(PlainConv(conv, layer.noise * layer.strength))
        for rgb in self.rgbs:
            assert isinstance(rgb, ToRGB)
            plain.rgbs.append(PlainRGB(fold_constant_style(rgb.conv, rgb.affine(w[None])[0])))
        return plain.train(self.training)

    def ends(self) -> Ends:
        """Its hidden channels; those that it reads are the features', its styles the embedding."""
        layers: list[tuple[Ends, list[Ends]]] = []
        for index, layer in enumerate(self.convs):
            assert isinstance(layer, StyledConv | PlainConv)
            layers.append((layer.ends().at(f"convs.{index}"), []))
        for stage, rgb in enumerate(self.rgbs):
            assert isinstance(rgb, ToRGB | PlainRGB)
            layers[2 * stage][1].append(rgb.ends().at(f"rgbs.{stage}"))
        return stacked(layers)


class ResidualTrunk(nn.Module):
    """The residual discriminator, and without its view of the batch the reader of Yu et al.

    Args:
        image_size: Side of the images, a power of two from 16.
        widths: Channels of every resolution, as the generator's.
        outputs: Numbers for each image.
        group: Images in a group of the minibatch standard deviation. 0 leaves it out: a reader must
            see one image, never what else is in the batch.
    """

    def __init__(self, *, image_size: int, widths: list[int], outputs: int, group: int) -> None:
        super().__init__()
        assert image_size == ENTRY_SIZE << (len(widths) - 1)
        self.group = group
        self.entry = EqualConv(3, widths[-1], 1)
        self.blocks = nn.ModuleList(
            _Residual(widths[stage], widths[stage - 1]) for stage in range(len(widths) - 1, 0, -1)
        )
        last = widths[0]
        self.conv = EqualConv(last + (group > 0), last, 3)
        self.hidden = EqualLinear(last * ENTRY_SIZE**2, last)
        self.out = EqualLinear(last, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """``(N, outputs)`` for images ``(N, 3, H, W)`` in [-1, 1]."""
        x = activate(self.entry(images))
        for block in self.blocks:
            x = block(x)
        if self.group:
            # Squares of small differences need more digits than 16-bit numbers have.
            deviation = minibatch_deviation(lifted(x), self.group)
            x = torch.cat([x, deviation.to(x.dtype)], 1)
        x = activate(self.conv(x))
        x = activate(self.hidden(x.flatten(1)))
        outputs: Tensor = self.out(x)
        return lifted(outputs)


class _Residual(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = EqualConv(in_channels, in_channels, 3)
        self.second = EqualConv(in_channels, out_channels, 3, down=True)
        self.skip = EqualConv(in_channels, out_channels, 1, down=True, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = activate(self.second(activate(self.first(x))))
        z: Tensor = (y + self.skip(x)) * math.sqrt(0.5)
        return z


def path_lengths(images: Tensor, embeddings: Tensor, draws: Tensor) -> Tensor:
    """How far each image moves along random directions per step of its embeddings, ``(N,)``.

    ``|J^T y|`` of Karras et al. 2020, eq. 4, y ~ N(0, 1 / pixels), root mean square over layers;
    the graph is kept, so that a penalty on it can be learnt from.

    Args:
        images: ``(N, 3, H, W)``, made from the embeddings.
        embeddings: ``(N, L, D)``.
        draws: ``(N, 3, H, W)`` standard normal.
    """
    size = images.shape[2] * images.shape[3]
    (gradient,) = torch.autograd.grad(
        (images * draws).sum() / math.sqrt(size), embeddings, create_graph=True
    )
    return gradient.square().sum(2).mean(1).sqrt()

"""Modulated convolution (Karras et al., CVPR 2020, sec. 2.2).

For sample n with one factor ``s[n, i]`` per input channel the weights are

    w'[n, o, i, k] = s[n, i] * w[o, i, k]
    w''[n, o, i, k] = w'[n, o, i, k] / sqrt(sum_{i, k} w'[n, o, i, k]**2 + eps)      (demodulation)

A convolution is linear, so scaling the weights of input channel i is scaling the input channel, and
dividing by the norm of an output channel is scaling the output. This module computes it in that
form: one ordinary convolution for the whole batch instead of one group per sample, which
`ModulatedConv.grouped` computes for comparison (`tests/bench/test_training_speed.py`).

Weights start at their true scale, ``randn / sqrt(fan_in)``, or are *equalised*
(`fpbench.nn.equalised`). A weight that is equalised moves by about 0.2 % per Adam step at the usual
rates: steady in the millions of steps of the papers, and useless in budgets of a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpbench.nn.channels import Axis, Channels, Ends, inputs, outputs
from fpbench.nn.equalised import in_full, lifted
from fpbench.nn.resampling import UpConv, convolve_up, smooth

__all__ = [
    "Affine",
    "ModulatedConv",
    "fold_constant_style",
    "fold_scale",
    "modulated_convs",
    "plain_ends",
    "scaled_styles",
    "styled_ends",
]

_EPS = 1e-8


class Affine(nn.Linear):
    """Linear map from an embedding to the style of one layer, near ``start`` at the beginning.

    Args:
        in_features: Size of the embedding, D.
        out_features: Number of input channels of the modulated layer.
        gain: Standard deviation of the styles for embeddings of unit variance per component.
        start: Bias at the start; 1 leaves a pre-trained layer as it is.
        equalised: Keep the weights at unit scale.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        gain: float = 1.0,
        start: float = 1.0,
        equalised: bool = False,
    ) -> None:
        super().__init__(in_features, out_features)
        self.scale = 1 / math.sqrt(in_features) if equalised else 1.0
        nn.init.normal_(self.weight, std=gain if equalised else gain / math.sqrt(in_features))
        nn.init.constant_(self.bias, start)

    def forward(self, embedding: Tensor) -> Tensor:
        """Styles ``(N, C)`` of embeddings ``(N, D)``, never in 16 bits: they carry the code."""
        with in_full(embedding):
            return F.linear(lifted(embedding), self.weight * self.scale, self.bias)


class ModulatedConv(nn.Module):
    """A convolution whose weights are scaled per sample and input channel, optionally demodulated.

    Args:
        in_channels: Number of input channels, C.
        out_channels: Number of output channels, O.
        kernel: Odd side of the kernel; the output keeps the size of the input.
        demodulate: Whether each output channel of the scaled weights is brought to unit norm.
        equalised: Keep the weights at unit scale; else at their true one.
        up: Convolve at twice the side of the input (`fpbench.nn.resampling.convolve_up`); 3x3 only.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 3,
        demodulate: bool = True,
        equalised: bool = False,
        up: bool = False,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(
                f"ModulatedConv needs an odd kernel to keep the image size, got {kernel}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel = kernel
        self.demodulate = demodulate
        self.up = up
        true_scale = 1 / math.sqrt(in_channels * kernel * kernel)
        self.scale = true_scale if equalised else 1.0
        drawn = torch.randn(out_channels, in_channels, kernel, kernel)
        self.weight = nn.Parameter(drawn if equalised else drawn * true_scale)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Features ``(N, O, H, W)`` from features ``(N, C, H, W)`` and styles ``(N, C)``.

        With ``up`` the features have twice the side.
        """
        weight = self.weight * self.scale
        scaled = x * style.to(x.dtype)[:, :, None, None]
        if self.up:
            y = convolve_up(scaled, weight)
        else:
            y = F.conv2d(scaled, weight, padding=self.kernel // 2)
        bias = self.bias.to(y.dtype)[:, None, None]
        if not self.demodulate:
            return y + bias
        with in_full(style):
            norm = torch.rsqrt(lifted(style).square() @ weight.square().sum((2, 3)).T + _EPS)
        return torch.addcmul(bias, y, norm.to(y.dtype)[:, :, None, None])

    def grouped(self, x: Tensor, style: Tensor) -> Tensor:
        """The same by the definition: weights of every sample, one group of the convolution each.

        The form of the authors' training code, kept as what `forward` is compared with.
        """
        n, c, height, width = x.shape
        weight = self.weight[None] * self.scale * style[:, None, :, None, None]
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + _EPS)
        x = x.reshape(1, n * c, height, width)
        if self.up:
            weight = weight.transpose(1, 2).flip(3, 4).reshape(n * c, -1, 3, 3)
            y = smooth(F.conv_transpose2d(x, weight, stride=2, groups=n), 1, 1, gain=2.0)
        else:
            weight = weight.reshape(-1, c, self.kernel, self.kernel)
            y = F.conv2d(x, weight, padding=self.kernel // 2, groups=n)
        return y.reshape(n, -1, *y.shape[2:]) + self.bias[:, None, None]


def modulated_convs(module: nn.Module) -> dict[str, ModulatedConv]:
    """The modulated convolutions inside a module by qualified name, in order of registration."""
    return {name: part for name, part in module.named_modules() if isinstance(part, ModulatedConv)}


@contextmanager
def scaled_styles(convs: Sequence[ModulatedConv], scales: Sequence[Tensor]) -> Iterator[None]:
    """While open, every convolution receives its style times a further factor.

    Args:
        convs: The L convolutions to act on.
        scales: One factor per convolution, ``(N, C)`` or ``(C,)``; gradients flow into them.
    """

    def times(scale: Tensor) -> Any:
        def multiply(_: nn.Module, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return inputs[0], inputs[1] * scale

        return multiply

    handles = [
        conv.register_forward_pre_hook(times(scale))
        for conv, scale in zip(convs, scales, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def fold_scale(weight: Tensor, scale: Tensor) -> Tensor:
    """Weights that act like ``weight`` under styles multiplied by ``scale``, demodulated or not.

    ``(s * c) w == s (c w)``: a constant factor per input channel can live in the weights, *before*
    demodulation, and the layer keeps computing its norms from the weights it holds.

    Args:
        weight: ``(O, C, k, k)``.
        scale: ``(C,)``.
    """
    return weight * scale[None, :, None, None]


@torch.no_grad()
def fold_constant_style(conv: ModulatedConv, style: Tensor) -> nn.Conv2d:
    """An ordinary convolution equal to ``conv`` under one constant style ``(C,)``.

    Norms are summed in double precision; the weights are read twice and written once, since this is
    what one more user costs.
    """
    scale = style.double() * conv.scale
    if conv.demodulate:
        squares = conv.weight.square().sum((2, 3)).double()
        norm = torch.rsqrt(squares @ scale.square() + _EPS)
        factor = norm[:, None] * scale[None]
    else:
        factor = scale[None].expand(conv.out_channels, -1)
    weight = conv.weight * factor.to(conv.weight.dtype)[:, :, None, None]
    kind = UpConv if conv.up else nn.Conv2d
    plain = kind(
        conv.in_channels,
        conv.out_channels,
        conv.kernel,
        padding=conv.kernel // 2,
        device="meta",  # weights of its own would be drawn for nothing
    )
    plain.weight = nn.Parameter(weight)
    plain.bias = nn.Parameter(conv.bias.detach().clone())
    return plain


def styled_ends(conv: ModulatedConv) -> Ends:
    """The channels of a layer that calls its convolution `conv` and its style map `affine`.

    A factor of an input channel can be moved between weight and style. A norm takes any factor of
    a filter out again, and so none can be handed on to the next layer.
    """
    weight, style = Axis("conv.weight", 1), (Axis("affine.weight", 0), Axis("affine.bias", 0))
    factors = (replace(weight, power=1), *(replace(axis, power=-1) for axis in style))
    own = [Channels(conv.in_channels, factors, positive=True, moves=False)]
    if conv.demodulate:
        filters = (Axis("conv.weight", 0, 1),)
        own.append(Channels(conv.out_channels, filters, positive=True, moves=False))
    return Ends(
        reads=(weight, *style),
        writes=outputs("conv", conv, power=None),
        styles=(inputs("affine"),),
        own=tuple(own),
        count=conv.out_channels,
    )


def plain_ends(conv: nn.Conv2d, *, scales: bool = True) -> Ends:
    """The same of a layer that calls its ordinary convolution `conv`.

    Args:
        conv: the convolution.
        scales: whether nothing is added to its outputs that is not a channel's own.
    """
    writes = outputs("conv", conv, power=1 if scales else None)
    return Ends((inputs("conv"),), writes, count=conv.out_channels)

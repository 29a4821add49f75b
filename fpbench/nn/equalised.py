"""Layers with an equalised learning rate (Karras et al., ICLR 2018, sec. 4.1).

Weights are drawn from N(0, 1) and multiplied by ``1 / sqrt(fan_in)`` at run time, so that Adam,
whose steps do not know the scale of a gradient, moves all of them at one relative speed.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpbench.nn.resampling import convolve_down

__all__ = ["EqualConv", "EqualLinear", "activate", "in_full", "lifted"]


def in_full(x: Tensor) -> torch.autocast:
    """While open, products are computed in the precision of their factors."""
    return torch.autocast(x.device.type, enabled=False)


def lifted(x: Tensor) -> Tensor:
    """Numbers of 16 bits as float32; others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, times sqrt(2) to keep the variance."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


class EqualLinear(nn.Module):
    """A linear map ``(N, in) -> (N, out)``.

    Args:
        in_features: Inputs.
        out_features: Outputs.
        multiplier: Factor of the learning rate; weights are drawn the larger by its inverse.
    """

    def __init__(self, in_features: int, out_features: int, *, multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / multiplier)
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.scale = multiplier / math.sqrt(in_features)
        self.multiplier = multiplier

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.linear(x, self.weight * self.scale, self.bias * self.multiplier)


class EqualConv(nn.Module):
    """A convolution that keeps the side of ``(N, C, H, W)``, or halves it.

    Args:
        in_channels: C.
        out_channels: O.
        kernel: 1 or 3.
        down: Filter and halve (`fpbench.nn.resampling.convolve_down`).
        bias: Whether there is one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        down: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.scale = 1 / math.sqrt(in_channels * kernel * kernel)
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        weight = self.weight * self.scale
        if self.down:
            y = convolve_down(x, weight)
        else:
            y = F.conv2d(x, weight, padding=weight.shape[2] // 2)
        return y if self.bias is None else y + self.bias.to(y.dtype)[:, None, None]

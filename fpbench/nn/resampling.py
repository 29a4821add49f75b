"""Change of resolution in StyleGAN2: the binomial filter [1, 3, 3, 1] (Karras et al. 2020, app. B).

All maps are (N, C, H, W). A convolution and the filter commute, so "insert zeros, filter, convolve"
is computed as a transposed convolution of the small map and then the filter: a quarter of the
products. The filter is separable, one axis after the other.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["UpConv", "convolve_down", "convolve_up", "smooth", "upsample"]

_TAPS = (1 / 8, 3 / 8, 3 / 8, 1 / 8)


def smooth(x: Tensor, before: int, after: int, *, gain: float = 1.0) -> Tensor:
    """The filter on zero-padded maps; sides grow by ``before + after - 3``.

    Args:
        x: ``(N, C, H, W)``.
        before: Zeros above and to the left.
        after: Zeros below and to the right.
        gain: Factor along each axis.
    """
    channels = x.shape[1]
    taps = _taps(gain, x.dtype, x.device)
    x = F.pad(x, (before, after, before, after))
    x = F.conv2d(x, taps.view(1, 1, 1, 4).expand(channels, 1, 1, 4), groups=channels)
    return F.conv2d(x, taps.view(1, 1, 4, 1).expand(channels, 1, 4, 1), groups=channels)


@lru_cache(maxsize=32)
def _taps(gain: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    # Made once: a copy to a GPU in every layer of every step would wait for it.
    return torch.tensor([gain * tap for tap in _TAPS], dtype=dtype, device=device)


def upsample(x: Tensor) -> Tensor:
    """Twice the side: with these taps the filter is bilinear interpolation, but for the border."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def convolve_up(x: Tensor, weight: Tensor) -> Tensor:
    """Twice the side, then a 3x3 convolution that keeps it.

    Args:
        x: ``(N, C, H, W)``.
        weight: ``(O, C, 3, 3)``, as of an ordinary convolution.
    """
    y = F.conv_transpose2d(x, weight.transpose(0, 1).flip(2, 3), stride=2)
    return smooth(y, 1, 1, gain=2.0)


def convolve_down(x: Tensor, weight: Tensor) -> Tensor:
    """Filtered, then a convolution of kernel 1 or 3 with stride 2: half the side.

    Args:
        x: ``(N, C, H, W)``, H and W even.
        weight: ``(O, C, k, k)``.
    """
    border = (weight.shape[2] + 1) // 2
    return F.conv2d(smooth(x, border, border), weight, stride=2)


class UpConv(nn.Conv2d):
    """An ordinary 3x3 convolution of the map at twice its side; see `convolve_up`."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(N, O, 2H, 2W)`` from ``(N, C, H, W)``."""
        y = convolve_up(x, self.weight)
        return y if self.bias is None else y + self.bias[:, None, None]

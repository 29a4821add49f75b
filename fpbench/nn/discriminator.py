"""A small residual discriminator in the shape of StyleGAN2's (Karras et al. 2020, sec. 4)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpbench.nn.equalised import activate

__all__ = ["Discriminator", "minibatch_deviation"]


class Discriminator(nn.Module):
    """One logit per image, above zero for images that look real.

    It sees pixel blocks of 2x2 as channels, halves the size down to 4x4, and there also sees how
    much a group of images differs (minibatch standard deviation); it is therefore no reader: a
    logit depends on the batch.

    Args:
        image_size: Side of the images, a power of two from 16.
        channels: Channels at half the image size; each halving multiplies them, up to 8/3 of this.
        group: Images per group of the minibatch standard deviation; the batch must be a multiple or
        smaller.
    """

    def __init__(self, *, image_size: int, channels: int = 48, group: int = 4) -> None:
        super().__init__()
        self.group = group
        widths = [channels, 2 * channels] + [8 * channels // 3] * 6
        halvings = int(math.log2(image_size)) - 3
        self.entry = nn.Conv2d(12, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(_Residual(widths[i], widths[i + 1]) for i in range(halvings))
        last = widths[halvings]
        self.conv = nn.Conv2d(last + 1, last, 3, padding=1)
        self.hidden = nn.Linear(last * 16, last)
        self.out = nn.Linear(last, 1)
        for layer in (self.entry, self.conv, self.hidden, self.out):
            _true_scale(layer)
        with torch.no_grad():
            # A near-zero first opinion, so that the generator's first gradients are small.
            self.out.weight.mul_(0.1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N,)`` for images ``(N, 3, H, W)`` in [-1, 1]."""
        x = activate(self.entry(F.pixel_unshuffle(images, 2)))
        for block in self.blocks:
            x = block(x)
        x = torch.cat([x, minibatch_deviation(x, self.group)], 1)
        x = activate(self.conv(x))
        x = activate(self.hidden(x.flatten(1)))
        logits: Tensor = self.out(x)[:, 0]
        return logits


class _Residual(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.second = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        for layer in (self.first, self.second, self.skip):
            _true_scale(layer)

    def forward(self, x: Tensor) -> Tensor:
        y = activate(self.second(F.avg_pool2d(activate(self.first(x)), 2)))
        z: Tensor = y + self.skip(F.avg_pool2d(x, 2))
        return z / math.sqrt(2)


def minibatch_deviation(x: Tensor, group: int) -> Tensor:
    """Mean deviation of features within each group of images, as one channel ``(N, 1, H, W)``.

    Groups are as large as N can be cut into, up to ``group`` images.
    """
    n, _, height, width = x.shape
    group = next(size for size in range(min(group, n), 0, -1) if n % size == 0)
    parts = x.reshape(group, n // group, -1)
    deviation = (parts.var(0, unbiased=False) + 1e-8).sqrt().mean(1)
    return deviation.repeat(group)[:, None, None, None].expand(n, 1, height, width)


def _true_scale(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)

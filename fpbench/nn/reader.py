"""The network that reads a code, or a latent, back from pixels."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Reader"]


class Reader(nn.Module):
    """A few strided convolutions and one linear layer.

    Normalised by groups of channels within one image, never over the batch: with one user's images
    in a batch, batch statistics would carry the code and flatter the reading. An image reads the
    same alone or in company.

    Args:
        image_size: Side of the images, a power of two from 16.
        outputs: Numbers read per image: K logits of a code, or the components of a latent.
        channels: Channels of the first convolution; later ones have twice and three times as many.
    """

    def __init__(self, *, image_size: int, outputs: int, channels: int = 32) -> None:
        super().__init__()
        halvings = int(math.log2(image_size)) - 3
        widths = [12, channels, 2 * channels, *[3 * channels] * (halvings - 1)]
        self.convs = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 3, stride=1 if i == 0 else 2, padding=1, bias=False)
            for i in range(halvings + 1)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for width in widths[1:])
        self.out = nn.Linear(16 * widths[-1], outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Readings ``(N, outputs)`` of images ``(N, 3, H, W)`` in [-1, 1]."""
        x = F.pixel_unshuffle(images, 2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), 0.2)
        readings: Tensor = self.out(x.flatten(1))
        return readings

"""Embedder and extractor of marks (Fernandez et al., ICCV 2023, sec. 4.1; after HiDDeN, 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Embedder", "Extractor"]

_BLOCKS = 8


class Embedder(nn.Module):
    """Adds a bounded residual that carries a code to any image; only the extractor needs it.

    Args:
        bits: length of a code, K.
        channels: of every convolution.
        depth: convolutions before the code joins the image.
        patch: side of the blocks of pixels that are channels.
        places: side of the grid over which a code is spread.
        strength: largest change of a value, on images in [-1, 1].
    """

    def __init__(
        self, *, bits: int, channels: int, depth: int, patch: int, places: int, strength: float
    ) -> None:
        super().__init__()
        self.patch, self.places, self.strength = patch, places, strength
        inputs = 3 * patch**2
        self.spread = nn.Linear(bits, channels * places**2)
        nn.init.normal_(self.spread.weight, std=bits**-0.5)
        nn.init.zeros_(self.spread.bias)
        self.before = _convolutions(inputs, channels, depth)
        self.after = nn.Sequential(
            _convolutions(2 * channels + inputs, channels, 1), nn.Conv2d(channels, inputs, 1)
        )

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """Marked images ``(N, 3, H, W)`` from images in [-1, 1] and codes ``(N, K)`` bool."""
        x = functional.pixel_unshuffle(images, self.patch)
        planes = self.spread(codes.to(x.dtype) * 2 - 1)
        planes = planes.view(len(x), -1, self.places, self.places)
        planes = functional.interpolate(planes, size=x.shape[2:], mode="nearest")
        residual = self.after(torch.cat([planes, self.before(x), x], 1))
        return images + self.strength * functional.pixel_shuffle(torch.tanh(residual), self.patch)


class Extractor(nn.Module):
    """A row of convolutions, means over the fields of a grid, and one linear layer.

    Normalised by groups within an image: an image reads the same alone or in company.

    Args:
        bits: logits per image, K.
        channels: of every convolution.
        depth: convolutions.
        patch: side of the blocks of pixels that are channels.
        places: side of the grid; H and W are multiples of ``patch * places``.
    """

    def __init__(self, *, bits: int, channels: int, depth: int, patch: int, places: int) -> None:
        super().__init__()
        self.patch, self.places = patch, places
        self.convs = _convolutions(3 * patch**2, channels, depth)
        self.out = nn.Linear(channels * places**2, bits)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, K)`` of images ``(N, 3, H, W)`` in [-1, 1]."""
        x = self.convs(functional.pixel_unshuffle(images, self.patch))
        side = x.shape[2] // self.places
        logits: Tensor = self.out(functional.avg_pool2d(x, side).flatten(1))
        return logits


def _convolutions(inputs: int, channels: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(depth):
        first = channels if number else inputs
        layers += [
            nn.Conv2d(first, channels, 3, padding=1, bias=False),
            nn.GroupNorm(_BLOCKS, channels),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)

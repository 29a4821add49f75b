"""The host network: StyleGAN2's generator, small, with a skip connection to RGB at every stage."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpbench.nn.synthesis import ENTRY_SIZE, SkipSynthesis

__all__ = ["HostGenerator"]

_EMBEDDING_GAIN = 1.4


class HostGenerator(nn.Module):
    """Latent to image: a mapping network drives the styles, the synthesis starts at a constant.

    The latent is not normalised before the mapping: its radius is part of what the paired
    training must be able to use.

    Args:
        image_size: Side of the images, a power of two from 16.
        latent_dim: Size of a latent, Z.
        channels: Channels of every stage.
        embedding_dim: Size of the embedding between mapping and styles.
    """

    def __init__(
        self, *, image_size: int, latent_dim: int, channels: int, embedding_dim: int
    ) -> None:
        super().__init__()
        self.mapping = nn.ModuleList(
            [nn.Linear(latent_dim, embedding_dim), nn.Linear(embedding_dim, embedding_dim)]
        )
        for layer in self.mapping:
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)
        self.constant = nn.Parameter(torch.randn(channels, ENTRY_SIZE, ENTRY_SIZE))
        self.synthesis = SkipSynthesis(
            image_size=image_size, channels=channels, style_dim=embedding_dim
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)``, nominally in [-1, 1], from normal latents ``(N, Z)``."""
        w = latents
        for layer in self.mapping:
            w = functional.leaky_relu(layer(w), 0.2)
        entry = self.constant.expand(len(w), -1, -1, -1)
        entry = entry.contiguous(memory_format=torch.channels_last)
        images: Tensor = self.synthesis(entry, w * _EMBEDDING_GAIN)
        return images

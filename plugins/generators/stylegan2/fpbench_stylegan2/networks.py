"""The host networks: StyleGAN2's generator, at full size or small, and its discriminator."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpbench.nn.channels import Axis, Channels, Ends, inputs, outputs
from fpbench.nn.draws import Draws
from fpbench.nn.stylegan2 import Mapping, StyleSynthesis
from fpbench.nn.synthesis import ENTRY_SIZE, SkipSynthesis

__all__ = ["CompactGenerator", "StyleGAN2Generator"]

_EMBEDDING_GAIN = 1.4


class CompactGenerator(nn.Module):
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
        return self.images(self.styles(latents))

    def styles(self, latents: Tensor) -> Tensor:
        """Embeddings ``(N, D)`` of latents ``(N, Z)``."""
        w = latents
        for layer in self.mapping:
            w = functional.leaky_relu(layer(w), 0.2)
        return w * _EMBEDDING_GAIN

    def channels(self) -> tuple[Channels, ...]:
        """Its hidden channels; see `fpbench.nn.channels`."""
        hidden = (*outputs("mapping.0", self.mapping[0]), inputs("mapping.1"))
        count = len(self.get_parameter("mapping.0.bias"))
        mapping = Ends(
            writes=outputs("mapping.1", self.mapping[1]),
            own=(Channels(count, hidden, positive=True),),
            count=count,
        )
        return _joined(mapping, self.constant, self.synthesis.ends())

    def images(self, w: Tensor, draws: Draws | None = None) -> Tensor:
        """Images of embeddings ``(N, D)``; there are no noise inputs to draw for."""
        images: Tensor = self.synthesis(_repeated(self.constant, len(w)), w, draws)
        return images


class StyleGAN2Generator(nn.Module):
    """StyleGAN2's generator (Karras et al., CVPR 2020), noise inputs included.

    Args:
        image_size: Side of the images, a power of two from 16.
        latent_dim: Size of a latent, Z.
        widths: Channels at every resolution.
        embedding_dim: Size of the embedding, D.
        mapping_layers: Depth of the mapping network.
        normalise: Bring latents to unit mean square before they are mapped.
    """

    def __init__(
        self,
        *,
        image_size: int,
        latent_dim: int,
        widths: list[int],
        embedding_dim: int,
        mapping_layers: int,
        normalise: bool,
    ) -> None:
        super().__init__()
        self.mapping = Mapping(
            latent_dim, embedding_dim, layers=mapping_layers, normalise=normalise
        )
        self.constant = nn.Parameter(torch.randn(widths[0], ENTRY_SIZE, ENTRY_SIZE))
        self.synthesis = StyleSynthesis(
            image_size=image_size, widths=widths, style_dim=embedding_dim
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)``, nominally in [-1, 1], from normal latents ``(N, Z)``."""
        return self.images(self.styles(latents))

    def styles(self, latents: Tensor) -> Tensor:
        """Embeddings ``(N, L, D)`` of latents ``(N, Z)``, the same for all L layers."""
        w: Tensor = self.mapping(latents)
        return w[:, None].expand(-1, self.synthesis.layers, -1)

    def channels(self) -> tuple[Channels, ...]:
        """Its hidden channels; see `fpbench.nn.channels`."""
        mapping = self.mapping.ends().at("mapping")
        return _joined(mapping, self.constant, self.synthesis.ends())

    def images(self, w: Tensor, draws: Draws | None = None) -> Tensor:
        """Images of embeddings ``(N, L, D)``; the draws are for noise inputs in training."""
        images: Tensor = self.synthesis(_repeated(self.constant, len(w)), w, draws)
        return images


def _repeated(constant: Tensor, count: int) -> Tensor:
    entry = constant.expand(count, -1, -1, -1)
    return entry.contiguous(memory_format=torch.channels_last)


def _joined(mapping: Ends, constant: Tensor, synthesis: Ends) -> tuple[Channels, ...]:
    """The hidden channels of a mapping network, a constant and the synthesis that they drive."""
    driven = synthesis.at("synthesis")
    return (
        *mapping.own,
        Channels(mapping.count, (*mapping.writes, *driven.styles), positive=True),
        Channels(len(constant), (Axis("constant", 0, 1), *driven.reads)),
        *driven.own,
    )

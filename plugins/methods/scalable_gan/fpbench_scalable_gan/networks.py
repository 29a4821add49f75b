"""A generator whose code drives the modulation (Yu, Skripniuk, Chen, Davis, Fritz, ICLR 2022).

The roles are swapped against StyleGAN2: the *code* goes through the mapping network and becomes the
style of every convolution, the *latent* takes the place of the learned constant. One user's style
is then a constant, and can be folded into ordinary weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpbench.nn.modulation import modulated_convs
from fpbench.nn.synthesis import ENTRY_SIZE, SkipSynthesis

__all__ = ["FingerprintGenerator", "UserGenerator"]


class LatentEntry(nn.Module):
    """Latents to the 4x4 features that synthesis starts with.

    Args:
        latent_dim: Size of a latent, Z.
        hidden_dim: Size of the hidden layer.
        channels: Channels of the features.
    """

    def __init__(self, *, latent_dim: int, hidden_dim: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.hidden = nn.Linear(latent_dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, channels * ENTRY_SIZE**2)
        for layer in (self.hidden, self.out):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)

    def forward(self, latents: Tensor) -> Tensor:
        """Features ``(N, C, 4, 4)`` from latents ``(N, Z)``."""
        x = functional.leaky_relu(self.hidden(latents), 0.2) * math.sqrt(2)
        x = functional.leaky_relu(self.out(x), 0.2) * math.sqrt(2)
        x = x.view(-1, self.channels, ENTRY_SIZE, ENTRY_SIZE)
        return x.contiguous(memory_format=torch.channels_last)


class FingerprintGenerator(nn.Module):
    """Latent and code to image: what the owner trains and keeps.

    Args:
        image_size: Side of the images, a power of two from 16.
        latent_dim: Size of a latent, Z.
        hidden_dim: Hidden layer between the latent and the first features.
        bits: Length of a code, K.
        embedding_dim: Size of the code's embedding.
        channels: Channels of every stage.
        code_gain: Standard deviation of the styles that codes make at the start. Small, so that the
            code starts as a change to a generator that works and not as its main input.
    """

    def __init__(
        self,
        *,
        image_size: int,
        latent_dim: int,
        hidden_dim: int,
        bits: int,
        embedding_dim: int,
        channels: int,
        code_gain: float,
    ) -> None:
        super().__init__()
        self.entry = LatentEntry(latent_dim=latent_dim, hidden_dim=hidden_dim, channels=channels)
        self.embed = nn.Linear(bits, embedding_dim)
        nn.init.normal_(self.embed.weight, std=1 / math.sqrt(bits))
        nn.init.zeros_(self.embed.bias)
        self.synthesis = SkipSynthesis(
            image_size=image_size, channels=channels, style_dim=embedding_dim, style_gain=code_gain
        )

    def forward(self, latents: Tensor, codes: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)``, nominally in [-1, 1].

        Args:
            latents: ``(N, Z)``, drawn from N(0, 1).
            codes: ``(N, K)`` bool.
        """
        images: Tensor = self.synthesis(self.entry(latents), self.embedding(codes))
        return images

    def without_code(self, latents: Tensor) -> Tensor:
        """Images under the mean style, as if there were no code: for the training before codes."""
        none = self.embed.weight.new_zeros(len(latents), self.embed.out_features)
        images: Tensor = self.synthesis(self.entry(latents), none)
        return images

    def embedding(self, codes: Tensor) -> Tensor:
        """Embeddings ``(N, D)`` of codes ``(N, K)`` bool."""
        embedding: Tensor = self.embed(codes.to(self.embed.weight.dtype) * 2 - 1)
        return embedding

    def code_parameters(self) -> list[nn.Parameter]:
        """The parameters that turn a code into styles: the embedding and every affine map."""
        return [*self.embed.parameters(), *(p for n, p in self._synthesis() if ".affine." in n)]

    def image_parameters(self) -> list[nn.Parameter]:
        """All others."""
        return [*self.entry.parameters(), *(p for n, p in self._synthesis() if ".affine." not in n)]

    def folded(self, code: Tensor) -> UserGenerator:
        """The generator of the user with this ``(K,)`` code: ordinary layers only."""
        with torch.no_grad():
            synthesis = self.synthesis.folded(self.embedding(code[None])[0])
        assert not modulated_convs(synthesis)
        return UserGenerator(self.entry, synthesis)

    def _synthesis(self) -> list[tuple[str, nn.Parameter]]:
        return list(self.synthesis.named_parameters())


class UserGenerator(nn.Module):
    """One user's copy: latent to image, with no trace of a mapping network or a code input."""

    def __init__(self, entry: LatentEntry, synthesis: SkipSynthesis) -> None:
        super().__init__()
        self.entry = entry
        self.synthesis = synthesis

    def forward(self, latents: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)``, nominally in [-1, 1], from latents ``(N, Z)``."""
        images: Tensor = self.synthesis(self.entry(latents))
        return images

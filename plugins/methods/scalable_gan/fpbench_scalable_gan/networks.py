"""A generator whose code drives the modulation (Yu, Skripniuk, Chen, Davis, Fritz, ICLR 2022).

The roles are swapped against StyleGAN2: the *code* goes through the mapping network and becomes the
style of every convolution, the *latent* takes the place of the learned constant. One user's style
is then a constant, and can be folded into ordinary weights.

Each part comes in two sizes: as in the paper, and compact, for minutes on a CPU.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fpbench.nn.channels import Channels, Ends, inputs, outputs
from fpbench.nn.draws import Draws
from fpbench.nn.equalised import EqualLinear, activate
from fpbench.nn.modulation import modulated_convs
from fpbench.nn.reader import Reader
from fpbench.nn.stylegan2 import Mapping, ResidualTrunk, StyleSynthesis
from fpbench.nn.synthesis import ENTRY_SIZE, SkipSynthesis

__all__ = [
    "CodeMapping",
    "CompactEmbedding",
    "CompactEntry",
    "CompactReader",
    "DenseEntry",
    "FingerprintGenerator",
    "TrunkReader",
    "UserGenerator",
]


class CompactEntry(nn.Module):
    """Latents to the 4x4 features that synthesis starts with, over one hidden layer.

    Args:
        latent_dim: Size of a latent, Z.
        hidden_dim: Size of the hidden layer.
        channels: Channels of the features.
    """

    def __init__(self, *, latent_dim: int, hidden_dim: int, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(latent_dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, channels * ENTRY_SIZE**2)
        for layer in (self.hidden, self.out):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)

    def forward(self, latents: Tensor) -> Tensor:
        """Features ``(N, C, 4, 4)`` from latents ``(N, Z)``."""
        return _square(activate(self.out(activate(self.hidden(latents)))))

    def ends(self) -> Ends:
        """Its hidden channels; it writes the features'."""
        hidden = (*outputs("hidden", self.hidden), inputs("out"))
        return Ends(
            writes=outputs("out", self.out, width=ENTRY_SIZE**2),
            own=(Channels(self.hidden.out_features, hidden, positive=True),),
            count=self.out.out_features // ENTRY_SIZE**2,
        )


class DenseEntry(nn.Module):
    """The paper's: one dense layer and an activation.

    Args:
        latent_dim: Size of a latent, Z.
        channels: Channels of the features.
    """

    def __init__(self, *, latent_dim: int, channels: int) -> None:
        super().__init__()
        self.dense = EqualLinear(latent_dim, channels * ENTRY_SIZE**2)

    def forward(self, latents: Tensor) -> Tensor:
        """Features ``(N, C, 4, 4)`` from latents ``(N, Z)``."""
        return _square(activate(self.dense(latents)))

    def ends(self) -> Ends:
        """Its hidden channels; it writes the features'."""
        width = ENTRY_SIZE**2
        count = len(self.dense.bias) // width
        return Ends(writes=outputs("dense", self.dense, width=width), count=count)


class CompactEmbedding(nn.Module):
    """Codes to embeddings: one linear map of bits as +-1.

    Args:
        bits: Length of a code, K.
        width: Size of an embedding, D.
    """

    def __init__(self, bits: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(bits, width)
        nn.init.normal_(self.linear.weight, std=1 / math.sqrt(bits))
        nn.init.zeros_(self.linear.bias)

    def forward(self, codes: Tensor) -> Tensor:
        """Embeddings ``(N, D)`` of codes ``(N, K)`` bool."""
        embedding: Tensor = self.linear(codes.to(self.linear.weight.dtype) * 2 - 1)
        return embedding


class CodeMapping(Mapping):
    """The paper's: eight layers on bits as 0 and 1, not normalised."""

    def forward(self, codes: Tensor) -> Tensor:
        """Embeddings ``(N, D)`` of codes ``(N, K)`` bool."""
        return super().forward(codes.float())


class FingerprintGenerator(nn.Module):
    """Latent and code to image: what the owner trains and keeps.

    Args:
        entry: Latents ``(N, Z)`` to features ``(N, C, 4, 4)``.
        embed: Codes ``(N, K)`` bool to embeddings ``(N, D)``.
        synthesis: Features and embeddings to images; can be folded.
        embedding_dim: D.
    """

    def __init__(
        self,
        entry: CompactEntry | DenseEntry,
        embed: nn.Module,
        synthesis: SkipSynthesis | StyleSynthesis,
        embedding_dim: int,
    ) -> None:
        super().__init__()
        self.entry = entry
        self.embed = embed
        self.synthesis = synthesis
        self.embedding_dim = embedding_dim

    def forward(self, latents: Tensor, codes: Tensor, draws: Draws | None = None) -> Tensor:
        """Images ``(N, 3, H, W)``, nominally in [-1, 1].

        Args:
            latents: ``(N, Z)``, drawn from N(0, 1).
            codes: ``(N, K)`` bool.
            draws: Of these images, for noise inputs in training.
        """
        return self.styled(latents, self.embed(codes), draws)

    def styled(self, latents: Tensor, w: Tensor, draws: Draws | None = None) -> Tensor:
        """Images of latents ``(N, Z)`` under embeddings ``(N, D)``, or one per layer (N, L, D)."""
        images: Tensor = self.synthesis(self.entry(latents), w, draws)
        return images

    def without_code(self, latents: Tensor, draws: Draws | None = None) -> Tensor:
        """Images under the mean style, as if there were no code: for the training before codes."""
        return self.styled(latents, latents.new_zeros(len(latents), self.embedding_dim), draws)

    def code_parameters(self) -> list[nn.Parameter]:
        """The parameters that turn a code into styles: the embedding and every affine map."""
        return [*self.embed.parameters(), *(p for n, p in self._synthesis() if ".affine." in n)]

    def image_parameters(self) -> list[nn.Parameter]:
        """All others."""
        return [*self.entry.parameters(), *(p for n, p in self._synthesis() if ".affine." not in n)]

    def folded(self, code: Tensor) -> UserGenerator:
        """The generator of the user with this ``(K,)`` code: ordinary layers only."""
        with torch.no_grad():
            synthesis = self.synthesis.folded(self.embed(code[None])[0])
        assert not modulated_convs(synthesis)
        return UserGenerator(self.entry, synthesis)

    def _synthesis(self) -> list[tuple[str, nn.Parameter]]:
        return list(self.synthesis.named_parameters())


class UserGenerator(nn.Module):
    """One user's copy: latent to image, with no trace of a mapping network or a code input."""

    def __init__(
        self, entry: CompactEntry | DenseEntry, synthesis: SkipSynthesis | StyleSynthesis
    ) -> None:
        super().__init__()
        self.entry = entry
        self.synthesis = synthesis

    def forward(self, latents: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)``, nominally in [-1, 1], from latents ``(N, Z)``."""
        images: Tensor = self.synthesis(self.entry(latents))
        return images

    def channels(self) -> tuple[Channels, ...]:
        """Its hidden channels; see `fpbench.nn.channels`."""
        entry, synthesis = self.entry.ends().at("entry"), self.synthesis.ends().at("synthesis")
        features = Channels(entry.count, (*entry.writes, *synthesis.reads), positive=True)
        return (*entry.own, features, *synthesis.own)


class CompactReader(nn.Module):
    """Two small networks side by side, for the latent and for the code.

    Args:
        image_size: Side of the images.
        latent_dim: Z.
        bits: K.
        channels: Of the first convolution.
    """

    def __init__(self, *, image_size: int, latent_dim: int, bits: int, channels: int) -> None:
        super().__init__()
        self.code = Reader(image_size=image_size, outputs=bits, channels=channels)
        self.latent = Reader(image_size=image_size, outputs=latent_dim, channels=channels)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Latents ``(N, Z)`` and logits ``(N, K)`` of images ``(N, 3, H, W)`` in [-1, 1]."""
        return self.latent(images), self.code(images)

    def logits(self, images: Tensor) -> Tensor:
        """The logits alone."""
        logits: Tensor = self.code(images)
        return logits


class TrunkReader(nn.Module):
    """The paper's: one residual trunk without a view of the batch, Z + K outputs.

    Args:
        image_size: Side of the images.
        latent_dim: Z.
        bits: K.
        widths: Channels at every resolution.
    """

    def __init__(self, *, image_size: int, latent_dim: int, bits: int, widths: list[int]) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.trunk = ResidualTrunk(
            image_size=image_size, widths=widths, outputs=latent_dim + bits, group=0
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Latents ``(N, Z)`` and logits ``(N, K)`` of images ``(N, 3, H, W)`` in [-1, 1]."""
        outputs = self.trunk(images)
        return outputs[:, : self.latent_dim], outputs[:, self.latent_dim :]

    def logits(self, images: Tensor) -> Tensor:
        """The logits alone."""
        logits: Tensor = self(images)[1]
        return logits


def _square(x: Tensor) -> Tensor:
    x = x.view(len(x), -1, ENTRY_SIZE, ENTRY_SIZE)
    return x.contiguous(memory_format=torch.channels_last)

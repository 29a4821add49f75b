"""From a user's code to one factor per input channel of every modulated convolution of the host."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fpbench.nn.modulation import Affine, ModulatedConv, fold_scale, modulated_convs

__all__ = ["CodeModulation", "fold", "fold_into"]


class CodeModulation(nn.Module):
    """A code's scales: a linear map to an embedding, then one affine map per layer, near 1.

    Args:
        bits: Length of a code, K.
        channels: Number of input channels of each modulated layer.
        embedding_dim: Size of the code's embedding.
        gain: Standard deviation of the scales at the start. Small, because the host already makes
            images: with unit scales the first steps wreck it.
    """

    def __init__(
        self, *, bits: int, channels: Sequence[int], embedding_dim: int, gain: float
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(bits, embedding_dim)
        nn.init.normal_(self.embed.weight, std=1 / math.sqrt(bits))
        nn.init.zeros_(self.embed.bias)
        self.affines = nn.ModuleList(Affine(embedding_dim, width, gain=gain) for width in channels)

    def forward(self, codes: Tensor) -> list[Tensor]:
        """One ``(N, C)`` tensor of factors per layer, from codes ``(N, K)`` bool."""
        embedding = self.embed(codes.to(self.embed.weight.dtype) * 2 - 1)
        return [affine(embedding) for affine in self.affines]


@torch.no_grad()
def fold(network: nn.Module, scales: Sequence[Tensor]) -> nn.Module:
    """A copy of a network whose modulated convolutions hold one user's scales in their weights.

    The copy has exactly the layers of the original, only other numbers in its convolutions.

    Args:
        network: With modulated convolutions.
        scales: One ``(C,)`` per modulated convolution, in order of registration.
    """
    return fold_into(copy.deepcopy(network), scales)


@torch.no_grad()
def fold_into(network: nn.Module, scales: Sequence[Tensor]) -> nn.Module:
    """The network itself, with one user's scales in its weights; see `fold`."""
    for conv, scale in zip(modulated_convs(network).values(), scales, strict=True):
        assert isinstance(conv, ModulatedConv)
        conv.weight.copy_(fold_scale(conv.weight, scale))
    return network

"""Codewords, how latents take them on, and how they are read (Yang et al., CVPR 2024, sec. 4).

Letters: N images, K bits, R streams, D latents. Latent d carries bit d mod K.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["Shading", "decode", "encrypted", "shaded", "slopes"]


class Shading(nn.Module):
    """The step "prior" of a copy: signs of the latents by encrypted codewords.

    Args:
        codewords: ``(R, D)`` bool; of the code and the pads it holds nothing else.
    """

    def __init__(self, codewords: Tensor) -> None:
        super().__init__()
        self.register_buffer("codewords", codewords.bool())

    def forward(self, latents: Tensor, seeds: Tensor) -> Tensor:
        """Marked latents ``(N, ...)`` of normal ones and their seeds ``(N,)`` int64."""
        codewords = self.get_buffer("codewords")
        return shaded(latents, codewords[seeds.to(codewords.device) % len(codewords)])


def encrypted(codes: Tensor, pads: Tensor) -> Tensor:
    """``(..., D)`` bool: codes ``(..., K)``, repeated to the length of the pads, XOR these."""
    place = torch.arange(pads.shape[-1], device=codes.device) % codes.shape[-1]
    return codes[..., place] ^ pads


def shaded(latents: Tensor, signs: Tensor) -> Tensor:
    """Latents ``(N, ...)`` with the sizes that they have, positive where ``(N, D)`` bool says so.

    Under a pad that is used once they are as normal as before.
    """
    sizes = latents.abs()
    return torch.where(signs.view_as(sizes), sizes, -sizes)


def slopes(latents: Tensor, encoded: Tensor) -> Tensor:
    """``(D,)``: times what the host encodes, the log-odds of each latent's sign.

    With correlation ρ between a normal latent and what is encoded, x of deviation σ, the
    probability of a positive sign is Φ(t), t = ρ x / (σ √(1 - ρ²)); its log-odds start with slope
    4 φ(0) in t and are taken to stay on that line, so that no outlier outvotes all others.

    Args:
        latents: ``(N, D)``.
        encoded: ``(N, D)``.
    """
    power = latents.square().mean(0) * encoded.square().mean(0)
    correlation = (latents * encoded).mean(0) / power.sqrt().clamp_min(1e-12)
    rest = (1 - correlation.square()).clamp_min(1e-4).sqrt()
    deviation = encoded.square().mean(0).sqrt().clamp_min(1e-12)
    return 4 / math.sqrt(2 * math.pi) * correlation / (rest * deviation)


def decode(log_odds: Tensor, pads: Tensor, bits: int) -> Tensor:
    """Logits ``(N, K)`` under the stream whose replicates agree most.

    The best of R streams is chosen by the size of its logits, which no code changes: a code that
    was drawn without regard to an image still meets fair coins, and its binomial null stays exact
    however many streams are searched.

    Args:
        log_odds: ``(N, D)``, that a latent is positive.
        pads: ``(R, D)`` bool.
        bits: K.
    """
    place = torch.arange(log_odds.shape[1], device=log_odds.device) % bits
    carried = nn.functional.one_hot(place, bits).to(log_odds.dtype)
    streams = [torch.where(pad, -log_odds, log_odds) @ carried for pad in pads]
    logits = torch.stack(streams, 1)
    best = logits.abs().sum(-1).argmax(1)
    return logits[torch.arange(len(logits), device=best.device), best]

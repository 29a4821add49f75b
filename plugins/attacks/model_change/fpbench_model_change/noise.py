"""Noise on the weights of a copy."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fpbench.api import (
    Access,
    Card,
    Context,
    Generator,
    ModelAttack,
    NoParams,
    Strength,
    Surface,
)

if TYPE_CHECKING:
    from torch import Tensor


class WeightNoise(ModelAttack[NoParams]):
    """Gaussian noise on every parameter and buffer, relative to the tensor's own spread."""

    name = "weight-noise"
    version = "2"
    Params = NoParams
    family = "weight noise"
    access = frozenset({Access.COPY})
    strength = Strength(
        "sigma", "of each tensor's spread", (0.05, 0.1, 0.2, 0.4), 0, 10, identity=0
    )
    card = Card(
        "Weight noise",
        "named as weight modulation's weakness by Kim et al.; grid is fpbench's own",
        "Apache-2.0",
        "Adds white noise to parameters and floating-point buffers; σ is relative to the standard "
        "deviation of each tensor. Running variances stay positive.",
    )

    def apply(
        self, surface: Surface, strengths: Sequence[float], ctx: Context
    ) -> Iterator[tuple[float, Generator]]:
        """One noise direction per copy, scaled to each strength."""
        import torch

        from fpbench.nn.weights import exchanged, reachable

        original = surface.copy
        found = reachable(original)
        numbers: dict[str, Iterator[int]] = defaultdict(itertools.count)
        noise = {}
        for (step, name), value in found.items():
            # A single number has no spread; its size stands in.
            spread = value.std() if value.numel() > 1 else value.abs()
            rng = ctx.rng(f"weight-noise/{step}", next(numbers[step]))
            noise[step, name] = spread * torch.randn(value.shape, generator=rng).to(value.device)
        for strength in sorted(strengths):
            noisy = {place: value + strength * noise[place] for place, value in found.items()}
            yield strength, exchanged(original, noisy)


class ChannelScaleNoise(ModelAttack[NoParams]):
    """A random factor on every input channel of every convolution, filters keep their norm.

    It hits the carrier of amplitude modulation, whose codes are such factors.
    """

    name = "channel-scale-noise"
    version = "2"
    Params = NoParams
    family = "weight noise"
    access = frozenset({Access.COPY})
    strength = Strength("sigma", "of the log scale", (0.05, 0.1, 0.2, 0.4), 0, 5, identity=0)
    card = Card(
        "Channel scale noise",
        "own",
        "Apache-2.0",
        "Multiplies each input channel of each convolution by a log-normal factor and brings every "
        "output filter back to its norm: made for codes that are factors of channels, as in "
        "weight modulation. Dense layers and constants stay.",
    )

    def apply(
        self, surface: Surface, strengths: Sequence[float], ctx: Context
    ) -> Iterator[tuple[float, Generator]]:
        """One factor per channel and copy, raised to the power of each strength."""
        import torch

        from fpbench.nn.weights import exchanged, weights

        original = surface.copy
        # Convolutions call their kernel so; a constant or a pattern of that shape has no channels.
        found = {
            (step, name): weight
            for (step, name), weight in weights(original).items()
            if weight.dim() > 2 and name.rpartition(".")[2] == "weight"
        }
        draws = {
            (step, name): torch.randn(
                weight.shape[1], generator=ctx.rng(f"channel-scale-noise/{step}/{name}")
            ).to(weight)
            for (step, name), weight in found.items()
        }
        for sigma in sorted(strengths):
            noisy = {
                place: _scaled(weight, (sigma * draws[place]).exp())
                for place, weight in found.items()
            }
            yield sigma, exchanged(original, noisy)


def _scaled(weight: Tensor, factors: Tensor) -> Tensor:
    """A weight (O, I, ...) times factors (I,), every filter with the norm it had."""
    filters = weight.reshape(*weight.shape[:2], -1)
    scaled = filters * factors[:, None]
    norms, now = (f.square().sum((1, 2), keepdim=True).sqrt() for f in (filters, scaled))
    return (scaled * (norms / now.clamp_min(1e-30))).view(weight.shape)

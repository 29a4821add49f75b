"""Merging the tensors of several copies, and taking the scales out of their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fpbench.api import Context
from fpbench.nn.weights import Place

__all__ = ["evened", "merged", "reset"]

_SWEEPS = 50
"""Alternations of a two-way fit; one is enough where no entry is left out."""


def merged(
    members: Sequence[Mapping[Place, Tensor]], rule: str, ctx: Context
) -> dict[Place, Tensor]:
    """The tensors of a coalition.

    Args:
        members: Each member's tensors, the same places with the same shapes. Copies of 8-bit
            codes and the like (tensors that are not floating-point) follow the majority, except
            under "layers".
        rule: "mean", "median", "extremes" or "layers".
        ctx: For what is drawn.
    """
    result = {}
    for step, name in members[0]:
        values = torch.stack([member[step, name] for member in members])
        rng = ctx.rng(f"merge/{step}/{name}")
        if rule == "layers":
            result[step, name] = values[int(torch.randint(len(values), (1,), generator=rng))]
        elif not values.is_floating_point():
            result[step, name] = _majority(values, rng)
        elif rule == "mean":
            result[step, name] = values.double().mean(0)
        elif rule == "median":
            ordered = values.double().sort(dim=0).values
            middle = (len(values) - 1) // 2, len(values) // 2
            result[step, name] = (ordered[middle[0]] + ordered[middle[1]]) / 2
        else:
            result[step, name] = _extremes(values.double(), rng)
    return result


def _majority(values: Tensor, rng: torch.Generator) -> Tensor:
    """The most frequent of (members, ...) values at each entry; ties are drawn."""
    votes = (values[:, None] == values[None]).sum(1)
    # Values that tie have equally many members, so a random one of these is a fair draw.
    lots = torch.rand(values.shape, generator=rng).to(values.device)
    return values.gather(0, (votes + lots).argmax(0, keepdim=True))[0]


def _extremes(values: Tensor, rng: torch.Generator) -> Tensor:
    """Of (members, ...) float64 values at each entry the one farthest from their mean."""
    low, high, mean = values.amin(0), values.amax(0), values.mean(0)
    above, below = high - mean, mean - low
    coin = torch.rand(mean.shape, generator=rng).to(mean.device) < 0.5
    return torch.where((above > below) | ((above == below) & coin), high, low)


def evened(mine: Tensor, theirs: Tensor, floor: float) -> Tensor:
    """A weight (O, I, ...) whose channels have the geometric mean of two copies' scales.

    Two copies W·s_a and W·s_b, with a factor per input channel and perhaps one per filter (from
    demodulation), differ by log|W_a| - log|W_b| = u_i + v_o. The sum is fitted by least squares,
    in turn over filters and over channels, and half of it is taken out of W_a.

    Args:
        mine: (O, I, ...), W_a, whose signs the result has.
        theirs: The same of the other copy.
        floor: Entries below this share of a tensor's largest are left out of the fit: their ratio
            is mostly rounding.
    """
    a, b = (w.double().reshape(*w.shape[:2], -1) for w in (mine, theirs))
    seen = (a.abs() > floor * a.abs().amax()) & (b.abs() > floor * b.abs().amax())
    ratio = torch.where(seen, (a / b).abs(), 1).log()
    u, v = ratio.new_zeros(a.shape[1]), ratio.new_zeros(len(a), 1)
    per_channel = seen.sum((0, 2)).clamp_min(1)
    per_filter = seen.sum((1, 2)).clamp_min(1)
    count = seen.sum(2)
    total = ratio.sum(2)
    for _ in range(_SWEEPS):
        u = (total - count * v).sum(0) / per_channel
        v = ((total - count * u).sum(1) / per_filter)[:, None]
    return (a * ((u + v) / -2).exp()[:, :, None]).view(mine.shape)


def reset(weight: Tensor, public: Tensor, least_factor: float, least_correlation: float) -> Tensor:
    """A weight (O, I, ...) without each input channel's least-squares factor against the host's.

    Args:
        weight: (O, I, ...), the copy's.
        public: The same of the host.
        least_factor: Channels whose factor is smaller stay: nothing is left of them.
        least_correlation: Channels whose correlation with the host's is smaller stay: what they
            differ by is not a factor. Signs do not count in either.
    """
    copied, original = (w.double().reshape(*w.shape[:2], -1) for w in (weight, public))
    product = (copied * original).sum((0, 2))
    power, own = original.square().sum((0, 2)), copied.square().sum((0, 2))
    factor = product / power.clamp_min(1e-300)
    correlation = product / (power * own).sqrt().clamp_min(1e-300)
    seen = (factor.abs() >= least_factor) & (correlation.abs() >= least_correlation)
    return (copied / torch.where(seen, factor, 1)[:, None]).view(weight.shape)

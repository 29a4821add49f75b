"""Hidden channels in another order and at other scales: the same images from other weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fpbench.api import (
    Access,
    Card,
    Context,
    ContractError,
    Generator,
    ModelAttack,
    Params,
    Surface,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from fpbench.nn.channels import Channels
    from fpbench.nn.weights import Place

_NAME = "permute-channels"
_IMAGES = 32
_APART = 1e-3
"""Share of values that may differ, by one level: sums in another order round differently."""
_FINER = 8
"""How much more of 16-bit values, whose levels are finer than a sum's last digits."""


class PermuteParams(Params):
    """How far the scales of channels are spread.

    Attributes:
        spread: standard deviation of the logarithm of a channel's factor; 0 = channels only change
            places, and no sign is changed.
    """

    spread: Annotated[float, Field(ge=0, le=1)] = 0.5


class PermuteChannels(ModelAttack[PermuteParams]):
    """The hidden channels of all layers change places and scales; what is drawn stays."""

    name = _NAME
    version = "1"
    Params = PermuteParams
    family = "permutation"
    access = frozenset({Access.COPY})
    card = Card(
        "Permutation of channels",
        "named as an invariance of networks by Hecht-Nielsen, 1990; as an attack own",
        "Apache-2.0",
        "Puts the hidden channels of every layer in a random order and multiplies them by factors "
        "that the next layer takes out again, positive ones behind a ReLU, signs where the "
        "activation is odd. Images stay; whoever reads weights at fixed places finds others there.",
    )

    def apply(
        self, surface: Surface, strengths: Sequence[None], ctx: Context
    ) -> Iterator[tuple[None, Generator]]:
        """The copy with other weights, once.

        Raises:
            ContractError: it has no hidden channels that are known, or draws other images.
        """
        del strengths  # there is no knob
        changed = _rearranged(surface.copy, self.params.spread, ctx)
        _check(surface.copy, changed)
        yield None, changed


def _rearranged(generator: Generator, spread: float, ctx: Context) -> Generator:
    """The generator with its hidden channels in an order and at scales that are drawn."""
    from fpbench.nn.chains import hidden_channels
    from fpbench.nn.channels import rearranged
    from fpbench.nn.weights import exchanged, reachable

    # Many groups change one weight: in double precision it is rounded once.
    values = {place: value.double() for place, value in reachable(generator).items()}
    changed: dict[Place, Tensor] = {}
    for number, (step, group) in enumerate(hidden_channels(f"attack {_NAME}", generator)):
        order, factors = _drawn(group, spread, ctx.rng(_NAME, number))
        changed |= rearranged({**values, **changed}, step, group, order, factors)
    return exchanged(generator, changed)


def _drawn(group: Channels, spread: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """An order (C,) of the channels and a factor (C,) for each."""
    import torch

    count, blocks = group.count, group.blocks
    order = torch.arange(count)
    if group.moves:
        inside = torch.rand(blocks, count // blocks, generator=rng).argsort(1)
        inside += torch.arange(0, count, count // blocks)[:, None]
        order = inside[torch.randperm(blocks, generator=rng)].flatten()
    factors = torch.ones(count, dtype=torch.float64)
    if group.scales:
        factors = (spread * torch.randn(count, generator=rng, dtype=torch.float64)).exp()
    if group.flips and spread:
        factors = factors * (torch.randint(2, (count,), generator=rng) * 2 - 1)
    return order, factors


def _check(before: Generator, after: Generator) -> None:
    """Refuse what draws other images than before."""
    seeds = list(range(_IMAGES))
    first, second = (one.sample(one.prior(seeds)) for one in (before, after))
    apart = (first.int() - second.int()).abs()
    allowed = 1 if first.dtype.itemsize == 1 else _FINER
    most, share = int(apart.max()), float((apart >= allowed).double().mean())
    if most > allowed or share >= _APART:
        raise ContractError(
            f"attack {_NAME}: expected the same samples as before ({allowed} of a value's levels "
            f"in under {_APART:.1%} of values), got up to {most} in {share:.2%}; correct the "
            "channels() of the copy's modules"
        )

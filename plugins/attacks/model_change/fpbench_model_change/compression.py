"""What makes a copy smaller: pruning, quantisation, rounding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from fpbench.api import (
    Access,
    Card,
    Context,
    Generator,
    ModelAttack,
    NoParams,
    Params,
    Strength,
    Surface,
)

if TYPE_CHECKING:
    from torch import Tensor


class PruneParams(Params):
    """What is set to zero.

    Attributes:
        structure: "magnitude": single weights, the smallest over all layers together, each in
            units of its tensor's root mean square. "channel": whole output filters, those smallest
            against the mean filter of their layer; the largest of a layer always stays.
    """

    structure: Literal["magnitude", "channel"] = "magnitude"


class Prune(ModelAttack[PruneParams]):
    """The smallest weights of all layers together are set to 0; shapes stay."""

    name = "prune"
    version = "2"
    Params = PruneParams
    family = "pruning"
    access = frozenset({Access.COPY})
    strength = Strength("share", "of the weights", (0.1, 0.2, 0.4, 0.6), 0, 1, identity=0)
    card = Card(
        "Pruning",
        "Uchida, Nagai, Sakazawa, Satoh, ICMR 2017, prune marked networks; grid is fpbench's own",
        "Apache-2.0",
        "Sets the smallest weights to zero, single ones or whole output filters, without training "
        "afterwards.",
        "One threshold for all layers, in units of each tensor's root mean square, since a layer "
        "may store its weights at any scale. Buffers of two dimensions and more count as weights.",
    )

    def apply(
        self, surface: Surface, strengths: Sequence[float], ctx: Context
    ) -> Iterator[tuple[float, Generator]]:
        """A larger share sets more of the same order to zero."""
        del ctx
        import torch

        from fpbench.nn.weights import exchanged, weights

        original = surface.copy
        found = weights(original)
        parts = [_sizes(weight, self.params.structure) for weight in found.values()]
        counts = [len(part) for part in parts]
        sizes = torch.cat(parts)
        each = torch.cat(
            [
                torch.full_like(part, weight.numel() // len(part), dtype=torch.int64)
                for part, weight in zip(parts, found.values(), strict=True)
            ]
        )
        order = sizes.argsort(stable=True)
        spent = each[order].cumsum(0)
        for share in sorted(strengths):
            keep = torch.ones_like(sizes, dtype=torch.bool)
            keep[order[spent <= round(share * int(spent[-1]))]] = False
            keep |= sizes.isinf()
            pruned = {
                place: weight.where(_spread(kept, weight), 0)
                for (place, weight), kept in zip(
                    found.items(), torch.split(keep, counts), strict=True
                )
            }
            yield share, exchanged(original, pruned)


def _sizes(weight: Tensor, structure: str) -> Tensor:
    """(units,) how large each unit that may go is; infinite for what must stay."""
    from fpbench.nn.weights import unit

    if structure == "magnitude":
        return (weight.abs() / unit(weight)).flatten()
    norms = weight.flatten(1).norm(dim=1)
    sizes: Tensor = norms / norms.mean().clamp_min(1e-30)
    sizes[sizes.argmax()] = float("inf")
    return sizes


def _spread(kept: Tensor, weight: Tensor) -> Tensor:
    """Whether each entry of a weight stays, from whether its unit does."""
    return kept.repeat_interleave(weight.numel() // len(kept)).view(weight.shape)


class QuantiseParams(Params):
    """How weights are grouped.

    Attributes:
        per: one scale for each "tensor" or for each "channel" of its outputs.
    """

    per: Literal["tensor", "channel"] = "tensor"


class Quantise(ModelAttack[QuantiseParams]):
    """Symmetric uniform rounding of the weights; biases stay."""

    name = "quantise"
    version = "2"
    Params = QuantiseParams
    family = "quantisation"
    access = frozenset({Access.COPY})
    strength = Strength("bits", "per weight", (16, 8, 6, 4), 2, 16, whole=True)
    card = Card(
        "Quantisation",
        "standard symmetric uniform quantisation after training; grid is fpbench's own",
        "Apache-2.0",
        "Rounds weights to whole multiples of max |w| / (2^(bits-1) - 1); 16 bits are half "
        "precision. Biases and activations stay in single precision; buffers of two dimensions and "
        "more count as weights.",
    )

    def apply(
        self, surface: Surface, strengths: Sequence[float], ctx: Context
    ) -> Iterator[tuple[float, Generator]]:
        """Fewer bits are stronger."""
        del ctx
        from fpbench.nn.weights import exchanged, weights

        original = surface.copy
        found = weights(original)
        for bits in sorted(strengths, reverse=True):
            rounded = {
                place: quantised(weight, int(bits), self.params.per)
                for place, weight in found.items()
            }
            yield bits, exchanged(original, rounded)


def quantised(weight: Tensor, bits: int, per: str) -> Tensor:
    """A weight (O, ...) at the precision of so many bits, in its own type."""
    if bits == 16:
        return weight.half().to(weight.dtype)
    together = tuple(range(0 if per == "tensor" else 1, weight.dim()))
    peak = weight.abs().amax(together, keepdim=True)
    step: Tensor = (peak / (2 ** (bits - 1) - 1)).clamp_min(1e-30)
    return (weight / step).round() * step


class WeightRounding(ModelAttack[NoParams]):
    """All weights rounded to a number of decimals of their tensor's unit."""

    name = "weight-rounding"
    version = "2"
    Params = NoParams
    family = "quantisation"
    access = frozenset({Access.COPY})
    strength = Strength("decimals", "", (3, 2, 1, 0), 0, 9, whole=True)
    card = Card(
        "Weight rounding",
        "Yu, Skripniuk, Abdelnabi, Fritz, ICCV 2021; grid is fpbench's own",
        "Apache-2.0",
        "Rounds every parameter and floating-point buffer to that many decimals, in units of its "
        "tensor's root mean square.",
        "The paper rounds numbers as they are stored. Its networks store weights at unit scale (an "
        "equalised learning rate), where that is the same; weights at their true scale would be "
        "hit thirty times as hard.",
    )

    def apply(
        self, surface: Surface, strengths: Sequence[float], ctx: Context
    ) -> Iterator[tuple[float, Generator]]:
        """Fewer decimals are stronger."""
        del ctx
        from fpbench.nn.weights import exchanged, reachable, unit

        original = surface.copy
        found = {place: value.double() for place, value in reachable(original).items()}
        for decimals in sorted(strengths, reverse=True):
            rounded = {
                place: (value / unit(value)).round(decimals=int(decimals)) * unit(value)
                for place, value in found.items()
            }
            yield decimals, exchanged(original, rounded)

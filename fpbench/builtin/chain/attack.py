"""Several image attacks, one after the other, declared in a suite without Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fpbench.api import Card, Context, Params, Refusal, SampleAttack, Setting

if TYPE_CHECKING:
    from torch import Tensor


class ChainParams(Params):
    """What is done, in order.

    Attributes:
        parts: in a suite, tables like those of `[[attacks]]`, each with `use`, one strength and
            parameters; here resolved, with name, version, parameters and strength.
    """

    parts: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]


class Chain(SampleAttack[ChainParams]):
    """Image attacks one after the other, each with draws of its own.

    Args:
        params: as in a suite or resolved; for keys and labels.
        parts: the attacks and their strengths; the suite's reader makes them.
    """

    name = "chain"
    version = "1"
    Params = ChainParams
    family = "combination"
    card = Card(
        "Chain of attacks",
        "declared in the suite",
        "Apache-2.0",
        "Image attacks one after the other, each on the 8-bit result of the one before.",
    )

    def __init__(
        self, params: ChainParams, parts: Sequence[tuple[SampleAttack[Any], float | None]] = ()
    ) -> None:
        super().__init__(params)
        self.parts = tuple(parts)
        self.geometric = any(attack.geometric for attack, _ in self.parts)

    def refuse(self, setting: Setting) -> Refusal | None:
        """The first reason that one of its parts gives."""
        asked = (attack.refuse(replace(setting, strength=own)) for attack, own in self.parts)
        return next(filter(None, asked), None)

    def apply(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """See `SampleAttack.apply`; a chain has no strength of its own."""
        del strength
        for number, (attack, own) in enumerate(self.parts):
            branch = ctx.branch(attack.name, number)
            images = attack.apply(images, indices, 0.0 if own is None else own, branch)
        return images

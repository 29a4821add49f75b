"""What several copies reveal when they are laid side by side, or one copy beside the host."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from fpbench.api import (
    Access,
    Attack,
    Card,
    CoalitionAttack,
    Context,
    Generator,
    Params,
    PipelineAttack,
    Placement,
    Refusal,
    Setting,
    Strength,
    Surface,
    hookimpl,
)


class ColludeParams(Params):
    """How copies are merged.

    Attributes:
        rule: of the numbers at one place, "mean", "median", or "extremes": the one farthest from
            their mean, drawn where two are. "layers": every tensor is a random member's.
        align: first bring the hidden channels of all copies into the first one's order and to its
            scales, so that copies which hold the same function in different weights can be merged.
    """

    rule: Literal["mean", "median", "layers", "extremes"] = "mean"
    align: bool = False

    @model_serializer(mode="wrap")
    def _said(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is not aligned has the key and the label that it always had."""
        said: dict[str, Any] = plain(self)
        return said if self.align else {"rule": said["rule"]}


class Collude(CoalitionAttack[ColludeParams]):
    """Several users merge their copies, number by number or tensor by tensor."""

    name = "collude"
    version = "1"
    Params = ColludeParams
    family = "collusion"
    card = Card(
        "Collusion",
        "the rules of Wu, Trappe, Wang, Liu, IEEE Signal Processing Magazine 2004, on weights; "
        '"layers" is own',
        "Apache-2.0",
        "Merges the copies of several users into one generator. Where a copy holds its code as "
        "bits, as behind a post-hoc embedder, the majority's bit is taken and ties are drawn. With "
        "align, channels are matched first by linear assignment (Ainsworth, Hayase, Srinivasa, "
        "ICLR 2023), their scales too.",
    )

    def apply(self, surface: Surface, ctx: Context) -> Generator:
        """The merged copy, with the steps of the first member's."""
        from fpbench.nn.weights import buffers, exchanged, parameters
        from fpbench_coalition import merging

        first, *others = surface.copies
        if self.params.align:
            from fpbench.nn.aligning import aligned

            others = [aligned(f"attack {self.name}", other, first) for other in others]
        members = [{**parameters(copy), **buffers(copy)} for copy in (first, *others)]
        return exchanged(first, merging.merged(members, self.params.rule, ctx))


class ScaleRatioParams(Params):
    """How ratios are fitted.

    Attributes:
        floor: share of a tensor's largest weight below which a weight says nothing of its scale.
    """

    floor: Annotated[float, Field(gt=0, lt=1)] = 1e-3


class ScaleRatio(CoalitionAttack[ScaleRatioParams]):
    """Two copies of a method that scales channels reveal the ratio of their scales."""

    name = "scale-ratio"
    version = "1"
    Params = ScaleRatioParams
    family = "collusion"
    strength = Strength("users", "copies put together", (2,), 2, 2, whole=True)
    card = Card(
        "Scale ratio",
        "own",
        "Apache-2.0",
        "Fits the ratio of two copies' weights by one factor per input channel and one per output "
        "filter, and gives every channel the geometric mean of its two scales. Made for amplitude "
        "modulation; other differences stay as the first copy has them.",
    )

    def apply(self, surface: Surface, ctx: Context) -> Generator:
        """The first copy with the geometric mean of both copies' scales."""
        from fpbench.nn.weights import buffers, exchanged, parameters, weights
        from fpbench_coalition import merging

        first, second = surface.copies[:2]
        both = [{**parameters(copy), **buffers(copy)} for copy in (first, second)]
        merged = merging.merged(both, "mean", ctx)
        mine, theirs = weights(first), weights(second)
        for place, weight in mine.items():
            merged[place] = merging.evened(weight, theirs[place], self.params.floor)
        return exchanged(first, merged)


class ScaleResetParams(Params):
    """When a scale is seen at all.

    Attributes:
        least_factor: smallest size of a factor that is undone.
        least_correlation: least size of the correlation of a channel with the host's.
    """

    least_factor: Annotated[float, Field(gt=0)] = 0.05
    least_correlation: Annotated[float, Field(ge=0, le=1)] = 0.5


class ScaleReset(PipelineAttack[ScaleResetParams]):
    """One copy and the public host reveal the scales of the copy's channels, to be undone."""

    name = "scale-reset"
    version = "2"
    Params = ScaleResetParams
    family = "scale reset"
    access = frozenset({Access.COPY, Access.PUBLIC_HOST})
    changes_weights = True
    card = Card(
        "Scale reset",
        "own",
        "Apache-2.0",
        "Divides every input channel of the copy's weights by its least-squares factor against "
        "the public host's. Made for amplitude modulation.",
    )

    def refuse(self, setting: Setting) -> Refusal | None:
        """Where copy and host are different networks, or the mark is in none of their layers."""
        if not setting.method.builds_on_host:
            return Refusal("a copy shares no layers with the public host")
        if setting.method.placement in (Placement.POST_HOC, Placement.SAMPLER):
            return Refusal("it does not reach the mark, which is in no layer of the host")
        return None

    def apply(self, surface: Surface, ctx: Context) -> Generator:
        """The copy with the host's scales."""
        del ctx
        from fpbench.nn.weights import exchanged, weights
        from fpbench_coalition import merging

        copy, public = weights(surface.copy), weights(surface.public_host.generator)
        p = self.params
        reset = {
            place: merging.reset(weight, public[place], p.least_factor, p.least_correlation)
            for place, weight in copy.items()
            if place in public
        }
        return exchanged(surface.copy, reset)


@hookimpl
def fpbench_attacks() -> list[type[Attack[Any]]]:
    """Attacks by comparison."""
    return [Collude, ScaleRatio, ScaleReset]

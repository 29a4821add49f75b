"""Changes to how a copy is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Access,
    Attack,
    Card,
    Conditions,
    Context,
    Generator,
    Latents,
    ModelAttack,
    NoParams,
    PipelineAttack,
    Placement,
    Refusal,
    Setting,
    Strength,
    Surface,
    derive_seed,
    hookimpl,
)

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

_MARKS = ("prior", "post")


class Bypass(PipelineAttack[NoParams]):
    """Run the copy without marked sampler or post-hoc step; one that has none is run as it is."""

    name = "bypass"
    version = "1"
    Params = NoParams
    family = "bypass"
    access = frozenset({Access.COPY})
    card = Card(
        "Bypass",
        "the failure of post-hoc marks that in-model fingerprints answer",
        "Apache-2.0",
        "Drops the step that marks finished images, and the one that draws marked latents. "
        "In-model methods have no such step, so their result is the untouched one.",
    )

    def apply(self, surface: Surface, ctx: Context) -> Generator:
        """The copy without the steps called "prior" and "post"."""
        del ctx
        copy = surface.copy
        for name in _MARKS:
            if name in copy.steps:
                copy = copy.replace(name, None)
        return copy


class SwapStep(ModelAttack[NoParams]):
    """The last layers of a copy are exchanged for the public host's."""

    name = "swap-step"
    version = "2"
    Params = NoParams
    family = "step swap"
    access = frozenset({Access.COPY, Access.PUBLIC_HOST})
    strength = Strength(
        "share", "of the layers, from the last", (0.25, 0.5, 0.75), 0, 1, identity=0
    )
    card = Card(
        "Step swap",
        "own",
        "Apache-2.0",
        "Puts the public host's parameters and buffers into the last layers that copy and host "
        "share, in the order in which they are run when an image is drawn.",
    )

    def refuse(self, setting: Setting) -> Refusal | None:
        """Where copy and host are different networks, or the mark is in none of their layers."""
        if not setting.method.builds_on_host:
            return Refusal("a copy shares no layers with the public host")
        if setting.method.placement in (Placement.POST_HOC, Placement.SAMPLER):
            return Refusal("it does not reach the mark, which is in no layer of the host")
        return None

    def apply(
        self, surface: Surface, strengths: Sequence[float], ctx: Context
    ) -> Iterator[tuple[float, Generator]]:
        """A larger share reaches further towards the first layer."""
        del ctx
        from fpbench.nn.weights import exchanged, layers, reachable

        copy, public = surface.copy, reachable(surface.public_host.generator)
        shared = [
            [place for place in layer if place in public] for layer in layers(copy, copy.prior([0]))
        ]
        shared = [layer for layer in shared if layer]
        for share in sorted(strengths):
            last = shared[len(shared) - round(share * len(shared)) :]
            yield (
                share,
                exchanged(copy, {place: public[place] for layer in last for place in layer}),
            )


class Resample(PipelineAttack[NoParams]):
    """The adversary draws his own latents, as the public host does."""

    name = "resample"
    version = "1"
    Params = NoParams
    family = "resampling"
    access = frozenset({Access.COPY, Access.PUBLIC_HOST})
    card = Card(
        "Resampling",
        "the failure of marks that sit in the latents",
        "Apache-2.0",
        "Feeds the copy latents that the public host's prior draws, from other seeds. Where the "
        "fingerprint sits in the model or behind it, the result is that of the untouched copy on "
        "other latents.",
    )

    def refuse(self, setting: Setting) -> Refusal | None:
        """Where copies do not take the host's latents."""
        if setting.method.host_latents:
            return None
        return Refusal("a copy takes latents of its own, and the public host's mean nothing to it")

    def apply(self, surface: Surface, ctx: Context) -> Generator:
        """The copy with the host's prior."""
        import torch

        seed = int(torch.randint(2**62, (1,), generator=ctx.rng("resample")))
        return Resampled(surface.copy, surface.public_host.generator, seed)


class Resampled(Generator):
    """A copy whose latents are drawn by another generator, from seeds derived anew.

    Args:
        copy: what draws the images.
        source: what draws the latents.
        seed: what the new seeds derive from, beside the given ones.
    """

    def __init__(self, copy: Generator, source: Generator, seed: int) -> None:
        self._copy = copy
        self._source = source
        self._seed = seed

    @property
    def steps(self) -> Mapping[str, Module]:
        """The copy's."""
        return self._copy.steps

    @property
    def output(self) -> str:
        """The copy's."""
        return self._copy.output

    @property
    def opaque(self) -> frozenset[str]:
        """The copy's."""
        return self._copy.opaque

    def run(self, x: Any, *, first: str | None = None, until: str | None = None) -> Any:
        """The copy's steps."""
        return self._copy.run(x, first=first, until=until)

    def prior(self, seeds: Sequence[int], conditions: Conditions = ()) -> Latents:
        """(N, ...) latents of the source; row i depends on seed i alone."""
        own = [derive_seed(self._seed, int(seed)) for seed in seeds]
        return self._source.prior(own, conditions)

    def sample(self, latents: Latents) -> Tensor:
        """(N, 3, H, W) uint8 images of the copy."""
        return self._copy.sample(latents)

    def replace(self, name: str, step: Module | None, *, after: str | None = None) -> Resampled:
        """See `fpbench.api.Generator.replace`."""
        changed = self._copy.replace(name, step, after=after)
        return Resampled(changed, self._source, self._seed)


@hookimpl
def fpbench_attacks() -> list[type[Attack[Any]]]:
    """Pipeline attacks."""
    return [Bypass, SwapStep, Resample]

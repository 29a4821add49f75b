"""Fakes that are real components, with known answers; load them with `-p fpbench.testing.fakes`.

`tiny-host` draws smooth images after a "training" of a few steps. `perfect` writes the code into
the images so that it is always read right untouched, or inverted, or from batch statistics, as its
parameter says; `blind` reads nothing. `broken` fails where its parameter says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fpbench.api import (
    Card,
    Context,
    Evidence,
    Generator,
    Host,
    Method,
    Params,
    Placement,
    PostHocMethod,
    SampleStream,
    State,
    TrainedHost,
    hookimpl,
)

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

_CARD = Card("Fake", "own", "Apache-2.0", "For tests.")
Bits = Annotated[int, Field(ge=4, le=64)]


class TinyHostParams(Params):
    """How long it pretends to train.

    Attributes:
        steps: training steps.
        step_s: seconds that each takes, so that tests can interrupt it.
        checkpoint_steps: steps between two checkpoints; 0 = as time goes.
        collapsed: it draws one image, whatever the latents.
    """

    steps: Annotated[int, Field(ge=1)] = 5
    step_s: Annotated[float, Field(ge=0)] = 0.0
    checkpoint_steps: Annotated[int, Field(ge=0)] = 0
    collapsed: bool = False


class TinyHost(Host[TinyHostParams]):
    """A linear map of 8 latents to images."""

    name = "tiny-host"
    version = "1"
    Params = TinyHostParams
    card = _CARD

    def fit(self, images: SampleStream, ctx: Context) -> State:
        """A few regression steps, checkpointed like any training."""
        from fpbench.testing import networks

        p = self.params
        state = networks.fit_linear(images, ctx, p.steps, p.step_s, p.checkpoint_steps)
        return {**state, "map.weight": state["map.weight"] * 0} if p.collapsed else state

    def assemble(self, state: State, ctx: Context) -> Generator:
        """See `Host.assemble`."""
        from fpbench.testing import networks

        return networks.generator(state, ctx.device)

    def untrained(self, state: State, ctx: Context) -> Generator:
        """See `Host.untrained`."""
        from fpbench.testing import networks

        return networks.untrained(state, ctx)

    def encode(
        self, state: State, samples: Tensor, ctx: Context, step: str | None = None
    ) -> Tensor:
        """Pseudo-inverse of the linear map."""
        from fpbench.testing import networks

        del ctx, step  # it has one step alone
        return networks.encode(state, samples)

    def finetune(
        self,
        state: State,
        generator: Generator,
        images: Tensor,
        learning_rate: float,
        marks: Sequence[int],
        ctx: Context,
    ) -> Iterator[tuple[int, Generator]]:
        """Regression on encoded images."""
        from fpbench.testing import networks

        del ctx
        return networks.finetune(state, generator, images, learning_rate, marks)


class FakeParams(Params):
    """Length of the code.

    Attributes:
        bits: K.
    """

    bits: Bits = 16


class PerfectParams(FakeParams):
    """How it reads what it has written.

    Attributes:
        bits: K.
        reads: "right"; "inverted", so that every bit is wrong; "stuck", so that six bits are 1
            whatever the image; or "batch", after the mean over the batch was taken off, as a
            normalisation in training mode does.
    """

    reads: Literal["right", "inverted", "stuck", "batch"] = "right"


class Perfect(PostHocMethod[PerfectParams]):
    """Bit k is the sign of the contrast between two halves of block k of the image."""

    name = "perfect"
    version = "1"
    Params = PerfectParams
    trains = False
    card = _CARD

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Nothing to learn."""
        import torch

        del host, images
        return {"amplitude": torch.tensor([0.25], device=ctx.device)}

    def embedder(self, state: State, ctx: Context) -> Module:
        """See `PostHocMethod.embedder`."""
        from fpbench.testing import networks

        del ctx
        return networks.BlockEmbedder(self.params.bits, state["amplitude"])

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """Contrast of each block."""
        from fpbench.testing import networks

        del state, host, ctx
        logits = networks.block_contrast(evidence.samples, self.params.bits)
        if self.params.reads == "batch":
            logits = logits - logits.mean(dim=0)
        if self.params.reads == "stuck":
            logits[:, :6] = 1.0
        return -logits if self.params.reads == "inverted" else logits


class Blind(Method[FakeParams]):
    """Copies are the host; readings are a hash of the pixels, so bits are fair coins."""

    name = "blind"
    version = "1"
    Params = FakeParams
    placement = Placement.IN_MODEL
    keeps_sample = True
    trains = False
    uses_host = False
    card = _CARD

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Nothing to learn."""
        import torch

        del host, images
        return {"nothing": torch.zeros(1, device=ctx.device)}

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The host itself."""
        del state, issued, ctx
        return host.generator

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """Coins."""
        from fpbench.testing import networks

        del state, host, ctx
        return networks.coins(evidence.samples, self.params.bits)


class BrokenParams(FakeParams):
    """Where it breaks.

    Attributes:
        bits: K.
        where: the fault; "memory" does not fit in whatever pieces, "tight" fits in two.
    """

    where: Literal["fit", "nan", "shape", "import", "constant", "memory", "tight"] = "fit"


class Broken(Method[BrokenParams]):
    """Fails in a chosen way."""

    name = "broken"
    version = "1"
    Params = BrokenParams
    placement = Placement.IN_MODEL
    keeps_sample = True
    card = _CARD

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Raises if told so."""
        import torch

        del host, images
        if self.params.where == "fit":
            raise RuntimeError("the fit broke, as it was told to")
        where = self.params.where
        if where == "memory" or (where == "tight" and ctx.accumulation == 1):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        if where == "import":
            raise ImportError("No module named 'no_such_package'")
        return {"nothing": torch.zeros(1, device=ctx.device)}

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The host itself."""
        del state, issued, ctx
        return host.generator

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """The same for every image; NaN or a wrong shape if told so."""
        import torch

        del state, host, ctx
        width = self.params.bits + (self.params.where == "shape")
        fill = float("nan") if self.params.where == "nan" else 1.0
        return torch.full((len(evidence.samples), width), fill)


@hookimpl
def fpbench_hosts() -> list[type[Host[Any]]]:
    """The tiny host."""
    return [TinyHost]


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """Perfect, blind and broken."""
    return [Perfect, Blind, Broken]

"""Fakes that are real components, with known answers; load them with `-p fpbench.testing.fakes`.

`tiny-host` draws smooth images after a "training" of a few steps. `perfect` writes the code into
the images so that it is always read right untouched, or inverted, or from batch statistics, as its
parameter says; `blind` reads nothing. `broken` fails where its parameter says.

Of the other kinds of readings: `keyed` and `relative` give scores of users who are enrolled,
`retrained` those of models that nobody has marked, `present` says only that an image is marked,
`weighed` reads bits from weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fpbench.api import (
    Card,
    Context,
    Dataset,
    Enrolled,
    Evidence,
    Generator,
    Gives,
    Host,
    Method,
    NoParams,
    Params,
    PassiveMethod,
    Placement,
    PostHocMethod,
    Reads,
    SampleInfo,
    SampleStream,
    State,
    TrainedHost,
    User,
    digest,
    hookimpl,
)
from fpbench.api.packing import alone

if TYPE_CHECKING:
    import numpy as np
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

    def unpack(self, packed: State, ctx: Context) -> Generator:
        """See `Host.unpack`."""
        from fpbench.testing import networks

        weights = alone(f"host {self.name}: unpack", packed, "generator")
        return networks.unpacked(weights, ctx.device)

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


class SmoothParams(Params):
    """Size and counts.

    Attributes:
        size: height and width, pixels.
        train: images to train on.
        test: images that nothing is trained on; as many for reference.
    """

    size: Annotated[int, Field(ge=4, le=1024)] = 48
    train: Annotated[int, Field(ge=1)] = 256
    test: Annotated[int, Field(ge=1)] = 256


class SmoothImages(Dataset[SmoothParams]):
    """Smooth random images of any size; image i of a split is a function of the split and i."""

    name = "smooth-images"
    version = "1"
    drawn = True
    Params = SmoothParams
    card = _CARD

    def info(self) -> SampleInfo:
        """Size and counts."""
        p = self.params
        counts = {"train": p.train, "test": p.test, "reference": p.test}
        return SampleInfo.of_images(p.size, counts)

    def digest(self) -> str:
        """The images follow from the parameters."""
        return digest({self.name: self.version, **self.params.model_dump()})

    def read(self, split: str, indices: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8."""
        from fpbench.testing import networks

        first = ("train", "test", "reference").index(split) * 2**24
        return networks.smooth([first + int(index) for index in indices], self.params.size)


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

    def embedder_of(self, weights: State, ctx: Context) -> Module:
        """See `PostHocMethod.embedder_of`."""
        return self.embedder(weights, ctx)

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


class Keyed(Method[NoParams]):
    """User u's images have a contrast in block u; there is room for 16 users."""

    name = "keyed"
    version = "1"
    Params = NoParams
    placement = Placement.IN_MODEL
    gives = Gives.SCORES
    keeps_sample = True
    separable = True
    trains = False
    card = _CARD
    keys = 16

    def objection(self, info: SampleInfo, users: int) -> str:
        """As many users as blocks."""
        del info
        return f"expected at most {self.keys} users, got {users}" if users > self.keys else ""

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Nothing to learn."""
        import torch

        del host, images
        return {"nothing": torch.zeros(1, device=ctx.device)}

    def issue(
        self, state: State, host: TrainedHost, user: User, samples: SampleStream, ctx: Context
    ) -> State:
        """His number is his key."""
        import torch

        del state, host, samples
        return {"key": torch.tensor([user.index], device=ctx.device)}

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The host with the contrast put into its own step."""
        from fpbench.testing import networks

        del state
        steps = host.generator.steps
        key = networks.one_hot(issued["key"], self.keys)
        marked = networks.Contrasted(steps["generator"], key).to(ctx.device)
        return host.generator.replace("generator", marked)

    def unpack(self, packed: State, host: Host[Any], ctx: Context) -> Generator:
        """The contrast around the host's own step."""
        from fpbench.testing import networks

        weights = alone(f"method {self.name}: unpack", packed, "generator")
        code = weights.pop("code")
        inner = {f"generator/{name.removeprefix('step.')}": t for name, t in weights.items()}
        generator = host.unpack(inner, ctx)
        marked = networks.Contrasted(generator.steps["generator"], code).to(ctx.device)
        return generator.replace("generator", marked)

    def enrol(
        self,
        state: State,
        host: TrainedHost,
        users: Sequence[Enrolled],
        samples: SampleStream,
        ctx: Context,
    ) -> State:
        """The keys in the order of the users."""
        import torch

        del state, host, samples, ctx
        return {"keys": torch.cat([user.issued["key"] for user in users])}

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """(N, U) contrast of each user's block."""
        from fpbench.testing import networks

        del state, host, ctx
        contrast = networks.block_contrast(evidence.samples, self.keys)
        return contrast[:, evidence.registry["keys"]]


class Relative(Keyed):
    """`keyed` whose scores are compared with those of all who are registered."""

    name = "relative"
    separable = False

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """(N, U) contrast of each user's block above the mean over users."""
        scores = super().extract(state, host, evidence, ctx)
        return scores - scores.mean(dim=1, keepdim=True)


class Retrained(PassiveMethod[NoParams]):
    """Knows models by the mean of their images."""

    name = "retrained"
    version = "1"
    Params = NoParams
    gives = Gives.SCORES
    card = _CARD

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Nothing to learn before there are models."""
        import torch

        del host, images
        return {"nothing": torch.zeros(1, device=ctx.device)}

    def enrol(
        self,
        state: State,
        host: TrainedHost,
        users: Sequence[Enrolled],
        samples: SampleStream,
        ctx: Context,
    ) -> State:
        """(U, 3·H·W) mean image of each model."""
        import torch

        from fpbench.api.images import to_float

        del state, host, samples, ctx
        means = [to_float(user.samples(32)).flatten(1).mean(dim=0) for user in users]
        return {"means": torch.stack(means)}

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """(N, U): how much nearer than the mean of all."""
        import torch

        from fpbench.api.images import to_float

        del state, host, ctx
        apart = torch.cdist(to_float(evidence.samples).flatten(1), evidence.registry["means"])
        return apart.mean(dim=1, keepdim=True) - apart


class Present(PostHocMethod[NoParams]):
    """Every copy's images have the same contrast: they are marked, and tell nobody."""

    name = "present"
    version = "1"
    Params = NoParams
    gives = Gives.PRESENCE
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
        return networks.Marked(state["amplitude"])

    def embedder_of(self, weights: State, ctx: Context) -> Module:
        """See `PostHocMethod.embedder_of`."""
        return self.embedder(weights, ctx)

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """(N,) contrast of the halves of the image."""
        from fpbench.testing import networks

        del state, host, ctx
        return networks.block_contrast(evidence.samples, 1)[:, 0]


class Weighed(Method[FakeParams]):
    """Bit k is the sign of what was added to bias k of the host's map."""

    name = "weighed"
    version = "1"
    Params = FakeParams
    placement = Placement.IN_MODEL
    reads = Reads.WEIGHTS
    keeps_sample = True
    trains = False
    card = _CARD

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Where the biases were."""
        del images, ctx
        return {"bias": host.state["map.bias"].clone()}

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The host with the biases moved."""
        import torch

        del state, ctx
        step = host.generator.steps["generator"]
        with torch.no_grad():
            moved = issued["code"].float().mul(0.2).sub(0.1)
            step.get_parameter("map.bias")[: self.bits] += moved
        return host.generator.replace("generator", step)

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """(1, K), or zeros where the biases are gone."""
        import torch

        del host, ctx
        step = evidence.copy.steps.get("generator")
        biases = {} if step is None else dict(step.named_parameters())
        found = biases.get("map.bias")
        if found is None or found.shape != state["bias"].shape:
            return torch.zeros(1, self.bits)
        return (found - state["bias"]).detach()[None, : self.bits]


@hookimpl
def fpbench_datasets() -> list[type[Dataset[Any]]]:
    """Smooth images."""
    return [SmoothImages]


@hookimpl
def fpbench_hosts() -> list[type[Host[Any]]]:
    """The tiny host."""
    return [TinyHost]


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """All of them."""
    return [Perfect, Blind, Broken, Keyed, Relative, Retrained, Present, Weighed]

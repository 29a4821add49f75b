"""The method `hidden`: registration, parameters, card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fpbench.api import (
    Card,
    Context,
    Evidence,
    ImageInfo,
    ImageStream,
    Method,
    Needs,
    Params,
    PostHocMethod,
    State,
    TrainedHost,
    hookimpl,
)
from fpbench.nn import limits

if TYPE_CHECKING:
    from torch import Generator as RandomGenerator
    from torch import Tensor
    from torch.nn import Module

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class HiddenParams(Params):
    """Sizes and training; the defaults read 32 bits at 31 dB after 20 s on two cores.

    Attributes:
        bits: length of a code, K.
        channels: channels of the embedder.
        strength: largest change of a value, on images in [-1, 1].
        reader_channels: channels of the extractor's first convolution.
        batch: images per step, half photographs and half the host's.
        steps: training steps.
        learning_rate: Adam's, for both networks.
        likeness_weight: of the squared change of the image, once codes can be read.
    """

    bits: Annotated[int, Field(ge=1, le=256)] = 32
    channels: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    strength: Annotated[float, Field(gt=0, le=2)] = 0.2
    reader_channels: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    batch: Annotated[int, Field(ge=12, multiple_of=2)] = 24
    steps: Count = 300
    learning_rate: Rate = 2e-3
    likeness_weight: Annotated[float, Field(ge=0)] = 35.0


class Hidden(PostHocMethod[HiddenParams]):
    """An embedder marks finished images, an extractor reads them."""

    name = "hidden"
    version = "3"
    Params = HiddenParams
    gate = 0.95
    card = Card(
        "HiDDeN",
        "Zhu, Kaplan, Johnson, Fei-Fei, ECCV 2018",
        "Apache-2.0",
        "Embedder and extractor trained together with noise layers between them: identity, "
        "dropout, cropout, crop, blur and a real JPEG codec. It marks finished images, so that "
        "whoever holds the model can leave it out.",
        "At half resolution; the change is bounded; the code passes a dense layer (as in "
        "StegaStamp) instead of being repeated at every place; the extractor knows places instead "
        "of averaging over them; no adversary; group instead of batch normalisation; crops are "
        "brought back to full size.",
        bibtex="@inproceedings{zhu2018hidden,\n"
        "  title = {{HiDDeN}: Hiding Data With Deep Networks},\n"
        "  author = {Zhu, Jiren and Kaplan, Russell and Johnson, Justin and Fei-Fei, Li},\n"
        "  booktitle = {European Conference on Computer Vision},\n"
        "  year = {2018},\n"
        "}",
    )

    def objection(self, images: ImageInfo) -> str:
        """Sides must be powers of two, and a batch must be there to draw."""
        return limits.objection(images, self.params.batch)

    def needs(self) -> Needs:
        """Room for one training."""
        return Needs(memory_gib=1.5)

    def fit(self, host: TrainedHost, images: ImageStream, ctx: Context) -> State:
        """Trains on photographs and host images, half and half."""
        import torch

        from fpbench_hidden import training

        shape = host.generator.prior([0]).shape[1:]

        def draw(count: int, rng: RandomGenerator) -> Tensor:
            return host.generator.sample(torch.randn(count, *shape, generator=rng).to(ctx.device))

        return training.fit(images, draw, self.params, ctx)

    def embedder(self, state: State, ctx: Context) -> Module:
        """See `PostHocMethod.embedder`."""
        from fpbench_hidden import training

        return training.restore(state, self.params, ctx.device)

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """Logits of the extractor."""
        from fpbench_hidden import training

        del host, ctx
        return training.extract(state, evidence.images, self.params)


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The method."""
    return [Hidden]

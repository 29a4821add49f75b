"""The method `hidden`: registration and card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Card,
    Context,
    Evidence,
    Method,
    Needs,
    PostHocMethod,
    SampleInfo,
    SampleStream,
    State,
    TrainedHost,
    hookimpl,
)
from fpbench.nn import limits
from fpbench_hidden.params import HiddenParams

if TYPE_CHECKING:
    from torch import Generator as RandomGenerator
    from torch import Tensor
    from torch.nn import Module


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

    def objection(self, info: SampleInfo, users: int) -> str:
        """Sides must be powers of two, and a batch must be there to draw."""
        del users
        return limits.objection(info, self.params.batch)

    def needs(self) -> Needs:
        """Room for one training."""
        return Needs(memory_gib=1.5)

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Trains on photographs and host images, half and half."""
        from fpbench.nn import latents
        from fpbench_hidden import training

        def draw(count: int, rng: RandomGenerator) -> Tensor:
            return host.generator.sample(latents.drawn(host, count, images, rng, ctx.device))

        return training.fit(images, draw, self.params, ctx)

    def embedder(self, state: State, ctx: Context) -> Module:
        """See `PostHocMethod.embedder`; the extractor is no part of it."""
        from fpbench.nn.state import part

        return self.embedder_of(part(state, "embedder"), ctx)

    def embedder_of(self, weights: State, ctx: Context) -> Module:
        """See `PostHocMethod.embedder_of`."""
        from fpbench_hidden import training

        return training.restore(weights, self.params, ctx.device)

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """Logits of the extractor."""
        from fpbench_hidden import training

        del host, ctx
        return training.extract(state, evidence.samples, self.params)


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The method."""
    return [Hidden]

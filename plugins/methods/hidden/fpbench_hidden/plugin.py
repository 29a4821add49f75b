"""The method `hidden`: registration and card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Access,
    Attack,
    Card,
    Context,
    ContractError,
    Evidence,
    Host,
    Method,
    Needs,
    PostHocMethod,
    Refusal,
    SampleInfo,
    SampleStream,
    State,
    TrainedHost,
    hookimpl,
)
from fpbench.nn import limits
from fpbench_hidden import layout
from fpbench_hidden.params import HiddenParams

if TYPE_CHECKING:
    from torch import Generator as RandomGenerator
    from torch import Tensor
    from torch.nn import Module


_SOURCE = "Zhu, Kaplan, Johnson, Fei-Fei, ECCV 2018"
_BIBTEX = (
    "@inproceedings{zhu2018hidden,\n"
    "  title = {{HiDDeN}: Hiding Data With Deep Networks},\n"
    "  author = {Zhu, Jiren and Kaplan, Russell and Johnson, Justin and Fei-Fei, Li},\n"
    "  booktitle = {European Conference on Computer Vision},\n"
    "  year = {2018},\n"
    "}"
)
_SMALL = Card(
    "Small networks after HiDDeN",
    _SOURCE,
    "Apache-2.0",
    "Embedder and extractor trained together with noise layers between them: identity, "
    "dropout, cropout, crop, blur and a real JPEG codec. It marks finished images, so that "
    "whoever holds the model can leave it out.",
    "At half resolution; the change is bounded; the code passes a dense layer (as in "
    "StegaStamp) instead of being repeated at every place; the extractor knows places instead "
    "of averaging over them; no adversary; group instead of batch normalisation; crops are "
    'brought back to full size. With architecture = "paper" it is HiDDeN as published.',
    bibtex=_BIBTEX,
)
_PAPER = Card(
    "HiDDeN, as published",
    _SOURCE,
    "Apache-2.0",
    "Embedder, extractor and adversary of convolutions with batch normalisation, trained together "
    "with the paper's noise layers; the code is repeated at every pixel, and what the extractor "
    "sees is averaged over all places. It marks finished images, so that whoever holds the model "
    "can leave it out.",
    "Depths and colours (RGB instead of YUV) are those of the public PyTorch implementation, "
    "ando-khachatryan/HiDDeN, whose checkpoints `weights` takes: it published bit errors of "
    ".0009 at 32.2 dB without noise, and of .010 (dropout), .013 (JPEG-Mask), .060 (crop), .070 "
    "(cropout) and .211 (combined) at 30 to 34 dB. Every image has draws of its own, not every "
    "batch; the blur is centred, which in the authors' code it is not; JPEG-Mask keeps "
    "coefficients in zigzag order, where that code cuts a square; cropout keeps the marks inside "
    "the square, as the paper says, and not outside. Batch normalisation sees a piece of a batch "
    "where one is cut, or dealt to devices, and a copy uses its running statistics. The extractor "
    "learns from unrounded images and is measured on 8-bit ones. `quartered`, "
    "`halved`, `cooled`, `least_firmness` and `noise_from` are not the paper's; as they come, they "
    "do nothing.",
    bibtex=_BIBTEX,
)


class Hidden(PostHocMethod[HiddenParams]):
    """An embedder marks finished images, an extractor reads them."""

    name = "hidden"
    version = "3"
    Params = HiddenParams
    gate = 0.95
    card = _SMALL

    def __init__(self, params: HiddenParams) -> None:
        super().__init__(params)
        self._paper = params.architecture == "paper"
        if self._paper:
            self.card = _PAPER
            self.uses_host = False
            self.trains = not params.weights

    def objection(self, info: SampleInfo, users: int) -> str:
        """Why it cannot be trained on such images, or what is wrong with a file of weights."""
        del users
        p = self.params
        if p.weights:
            return self._wrong_file()
        if not self._paper:
            return limits.objection(info, p.batch)
        if info.size < p.crop:
            return (
                f"expected images of at least `crop` = {p.crop} pixels, got {info.size}; set a "
                "smaller crop, or [dataset] size"
            )
        if (count := info.counts["train"]) < p.batch:
            return f"expected at least a batch of {p.batch} images to train on, got {count}"
        return ""

    def refuse(self, host: Host[Any], attack: Attack[Any] | None) -> Refusal | None:
        """Where an adversary would train it again, and nothing is trained."""
        del host
        if self.params.weights and attack is not None and Access.TRAINER in attack.access:
            return Refusal("its networks come from a file, and nothing is trained that could be")
        return None

    def needs(self) -> Needs:
        """Room for one training."""
        p = self.params
        # Some fifty maps of all channels are kept; 3.1 GiB in all at the published sizes.
        paper = 1.5 + 60 * p.batch * p.channels * p.crop**2 * 4 / 2**30
        return Needs(memory_gib=paper if self._paper and not p.weights else 1.5)

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Trains on photographs; the small form on as many host images beside them."""
        if self._paper:
            from fpbench_hidden import paper

            return (
                paper.load(self.params, ctx)
                if self.params.weights
                else paper.fit(images, self.params, ctx)
            )
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
        if self._paper:
            from fpbench_hidden import paper

            return paper.restore(weights, self.params, ctx.device)
        from fpbench_hidden import training

        return training.restore(weights, self.params, ctx.device)

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """Logits of the extractor."""
        del host, ctx
        if self._paper:
            from fpbench_hidden import paper

            return paper.extract(state, evidence.samples, self.params)
        from fpbench_hidden import training

        return training.extract(state, evidence.samples, self.params)

    def _wrong_file(self) -> str:
        """What is wrong with the file of weights; that it is missing `fit` says."""
        from safetensors import SafetensorError, safe_open

        path = Path(self.params.weights)
        if not path.is_file():
            return ""
        who = f"the weights {path.name}"
        try:
            with safe_open(path, framework="np") as file:
                found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            layout.check(who, found, layout.shapes(self.params.bits, self.params.channels))
        except SafetensorError as error:
            return f"{who}: expected safetensors, got another file ({error})"
        except ContractError as error:
            return str(error)
        return ""


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The method."""
    return [Hidden]

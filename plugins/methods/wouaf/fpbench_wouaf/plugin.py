"""The method `wouaf`: registration and card."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Attack,
    Card,
    Context,
    Enrolled,
    Evidence,
    Generator,
    Host,
    Method,
    Needs,
    Offer,
    Placement,
    Reads,
    Refusal,
    SampleInfo,
    SampleStream,
    State,
    TrainedHost,
    hookimpl,
)
from fpbench_wouaf.params import WouafParams

if TYPE_CHECKING:
    from torch import Tensor


class Wouaf(Method[WouafParams]):
    """A code in the weights of a decoder: amplitude shift as published, or another carrier."""

    name = "wouaf"
    version = "1"
    Params = WouafParams
    placement = Placement.IN_MODEL
    keeps_sample = True
    gate = 0.95
    modalities = frozenset({"image", "audio"})
    afterwards = frozenset({"reading", "photographs", "tuned", "retraining_steps", "searched"})
    card = Card(
        "WOUAF, and other carriers in its place",
        "WOUAF: Kim, Min, Patel, Cheng, Yang, CVPR 2024",
        "Apache-2.0",
        "Trains a decoder together with a private reader, so that a user's code, as a change of "
        "the decoder's weights, can be read from each image; a copy is the decoder with other "
        "weights. With carrier = amplitude the change is a factor for each input channel, as "
        "published; other carriers change weights otherwise, under the same training.",
        "As it comes: one linear layer maps codes; the image loss is the squared difference to "
        "the host's image, and most steps see quarters of the latents; the reader is small and "
        "trained from scratch; latents come from the host's prior. Parameters set each of these "
        "as published: mapping, perceptual, likeness, latents, reader, hardened, cycle; of the "
        "robust training every image has its own draws. Carriers but amplitude, a reader that "
        "learns before the network does (as in Stable Signature) and spare bits are not WOUAF's.",
        bibtex="@inproceedings{kim2024wouaf,\n"
        "  title = {{WOUAF}: Weight Modulation for User Attribution and Fingerprinting in "
        "Text-to-Image Diffusion Models},\n"
        "  author = {Kim, Changhoon and Min, Kyle and Patel, Maitreya and Cheng, Sheng and "
        "Yang, Yezhou},\n"
        "  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},\n"
        "  year = {2024},\n"
        "}",
    )

    def __init__(self, params: WouafParams) -> None:
        super().__init__(params)
        self.reads = Reads.WEIGHTS if params.reading == "weights" else Reads.SAMPLES
        self.asks = frozenset({Offer.WEIGHTS})
        if params.latents == "photographs":
            self.asks |= {Offer.ENCODE}
        if params.drift or params.spare_bits or params.reading == "retrained":
            self.asks |= {Offer.FINETUNE}

    @property
    def enrols(self) -> bool:
        """Whether a reading needs what photographs or tuned copies say."""
        return self.params.reading in ("calibrated", "retrained")

    def needs(self) -> Needs:
        """Room for one training."""
        return Needs(memory_gib=3.0)

    def objection(self, info: SampleInfo, users: int) -> str:
        """What is for images, or for sounds, alone; sides that divide; images to whiten on.

        The small reader sees an eighth of a half of an image, as an extractor does.
        """
        del users
        p = self.params
        if info.modality == "image":
            if p.searched:
                return "expected sounds to search for their speed, got images; unset `searched`"
            if p.reader != "resnet50" and info.size % 16:
                return f"expected images whose side is a multiple of 16, got {info.size}"
            marks = p.extractor_marks or p.bits + p.spare_bits
            if p.reader == "extractor" and info.counts["train"] <= marks:
                return (
                    f"expected more images than bits to whiten an extractor on, got "
                    f"{info.counts['train']} for {marks} bits; give the data set more"
                )
            return ""
        odd = {"reader": p.reader != "small", "perceptual": bool(p.perceptual)}
        odd["hardened"] = p.hardened == "published"
        if any(odd.values()):
            return f"expected images for `{max(odd, key=lambda n: odd[n])}` so set, got sounds"
        if info.size % 64:
            return f"expected sounds whose length is a multiple of 64, got {info.size}"
        return ""

    def refuse(self, host: Host[Any], attack: Attack[Any] | None) -> Refusal | None:
        """Where the host says before any training that it lacks the layers, or the room."""
        del attack
        known = host.output_shapes()
        if not known:
            return None
        shapes = {
            name: shape
            for name, shape in known.items()
            if name.endswith(".weight") and re.search(self.params.layers, name)
        }
        sides = (3, 4) if self.params.modulated == "conv" else (2, 3, 4)
        carrying = [s for s in shapes.values() if len(s) in sides]
        if self.params.carrier == "norm":
            carrying = [s for s in shapes.values() if len(s) == 1]
        if not carrying:
            return Refusal(
                f"the host {host.name} has no layer for the carrier {self.params.carrier}"
            )
        room = sum(s[-1] if len(s) == 1 else s[1] for s in carrying)
        if room < self.params.bits:
            return Refusal(
                f"{self.params.bits} bits need as many channels, and the layers that carry them "
                f"have {room}"
            )
        return None

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Fine-tunes the host's output step together with carrier and reader."""
        from fpbench_wouaf import training

        return training.fit(host, images, self.params, ctx)

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The host's generator with the user's code folded into its output step."""
        from fpbench_wouaf import training

        generator = host.generator
        step = training.folded(
            generator.steps[generator.output], state, issued["code"], self.params
        )
        return generator.replace(generator.output, step.to(ctx.device))

    def enrol(
        self,
        state: State,
        host: TrainedHost,
        users: Sequence[Enrolled],
        samples: SampleStream,
        ctx: Context,
    ) -> State:
        """What the reader says of photographs, or a reader that was trained again."""
        from fpbench.nn.state import part
        from fpbench_wouaf import release

        del users
        if self.params.reading == "calibrated":
            return release.calibrated(part(state, "reader"), samples, self.params, ctx)
        if self.params.reading == "retrained":
            return release.retrained(state, host, samples, self.params, ctx)
        return {}

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """Logits of the reader; less those of photographs; or coefficients in the weights."""
        from fpbench.nn.state import part
        from fpbench_wouaf import release, training

        if self.reads is Reads.WEIGHTS:
            return release.weight_logits(state, host, evidence.copy, self.params)
        registry = evidence.registry
        weights = part(registry, "reader") or part(state, "reader")
        logits = training.read_with(weights, evidence.samples, self.params, ctx.modality)
        return release.normalised(logits, registry["mean"]) if registry else logits


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The method."""
    return [Wouaf]

"""Parameters of the method `wouaf`."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from fpbench.api import Params
from fpbench.api.params import Local

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class WouafParams(Params):
    """What carries the code, how it is learnt, and how it is read.

    With carrier = "low-rank" and shrink the sizes below read .997 of 32 bits from images of 64 px
    at 29.5 dB, after a quarter of an hour on one core.

    Attributes:
        bits: length of a code, K.
        carrier: the modulation; see `fpbench_wouaf.carriers`.
        modulated: "conv", or "all" with linear layers, such as those of attention.
        layers: regular expression that names of modulated layers contain; empty = all of the kind.
        mapping: of codes to embeddings, one linear layer or, as published, two.
        embedding_dim: size of an embedding.
        gain: how far codes move layers at the start; None = the carrier's own.
        frozen: whether the network's own weights stay the host's.
        noise: most weight noise in training, relative to each tensor's deviation, uniform from 0.
        worst_case: whether that noise points where it harms the code most.
        drift: fine-tuned copies of the host whose weight differences are added in training.
        shrink: whether some of the training codes are fainter than they are folded.
        faint_share: of these, on whole samples; on quarters at most half are. Where there are no
            quarters, the first 57 % of the steps take their place.
        faintest: of these, relative to full, on whole samples; on quarters at least 0.3.
        faint_power: of uniform draws between faintest and full, on whole samples; above 1 for more
            of the faintest.
        hardened: whether the reader trains on distorted samples: "mild" as other methods of
            fpbench, of sounds with shifts by up to 75 ms, too; or, of images, "published".
        latents: of the training: of the host's "prior", or encoded "photographs".
        likeness: what images shall be like: the "host"'s, or, of encoded ones, the "photograph".
        likeness_weight: of the squared difference at first; of sounds over the mean square.
        final_weight: of it later on.
        perceptual: the file of weights for LPIPS in the place of the squared difference.
        perceptual_net: network of these weights.
        reader: "small"; "resnet50" as published; or "extractor", which comes first: it learns to
            read marks that an embedder puts on photographs, as in Stable Signature, and only then
            to read the network's. It sees whole images alone, with `cropped` = 0.
        reader_channels: of the small one's first convolution; of all of an extractor's; a quarter
            of those of a reader of sounds.
        extractor_steps: of an extractor's first training.
        extractor_marks: bits of the marks of that training, more than `bits` to leave some out;
            None = as many. Of its whitened outputs a middle run becomes the reader's, by how much
            images without a code vary along them.
        whitened_on: these images: "photographs" as in Stable Signature, or what the "host" and the
            copies of `drift` draw.
        spare_bits: that the first part of the training learns beside those of a code; then those
            that the owner's own fine-tuned copies lose most are left out.
        steps: of training.
        cropped: share of them on quarters of the latents, which are a quarter of the work; the
            rest, or all where latents are no maps, is on whole samples.
        batch: samples of a step on quarters, one code each.
        whole_batch: samples of a step on whole ones.
        image_learning_rate: of the network's own weights.
        whole_image_learning_rate: of them on whole samples; None = the same. After a training on
            quarters all rates are two fifths.
        code_learning_rate: of carrier and reader.
        reader_learning_rate: of the reader; None = the same.
        reader_from: training's bit accuracy below which the reader stays as it is: one that comes
            first then does not meet the network half way.
        weight_decay: of all of them.
        clip: largest norm of a gradient; 0 = any.
        cycle: steps after which the rates start again, as published; 0 = one cosine.
        likeness_db: PSNR to the host's images, or SNR to its sounds, that copies shall have on
            average: codes are folded so loud that two copies, which nobody gets, have it; None = as
            they were trained.
        reading: "plain"; "calibrated" by what the reader says of photographs; "retrained" after
            release on fine-tuned copies of the owner's own; or of "weights".
        photographs: that a reading is calibrated on, or copies are tuned on.
        tuned: copies that the owner tunes for a reader that is trained again.
        retraining_steps: of that training.
        searched: whether sounds are read at 13 speeds from .88 to 1.12, and what is surest counts.
    """

    bits: Annotated[int, Field(ge=1, le=256)] = 32
    carrier: Literal[
        "amplitude",
        "demodulated",
        "low-rank",
        "separable",
        "filter",
        "bias",
        "norm",
        "rotation",
    ] = "amplitude"
    modulated: Literal["conv", "all"] = "all"
    layers: str = ""
    mapping: Literal["linear", "published"] = "linear"
    embedding_dim: Count = 64
    gain: Rate | None = None
    frozen: bool = False
    noise: Weight = 0.0
    worst_case: bool = False
    drift: Annotated[int, Field(ge=0)] = 0
    shrink: bool = False
    faint_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    faintest: Annotated[float, Field(gt=0, le=1)] = 0.3
    faint_power: Rate = 1.0
    hardened: Literal["no", "mild", "published"] = "no"
    latents: Literal["prior", "photographs"] = "prior"
    likeness: Literal["host", "photograph"] = "host"
    likeness_weight: Weight = 24.0
    final_weight: Weight = 60.0
    perceptual: Annotated[str, Local()] = ""
    perceptual_net: Literal["squeeze", "alex", "vgg"] = "vgg"
    reader: Literal["small", "resnet50", "extractor"] = "small"
    reader_channels: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    extractor_steps: Count = 600
    extractor_marks: Annotated[int, Field(ge=1, le=1024)] | None = None
    whitened_on: Literal["photographs", "host"] = "photographs"
    spare_bits: Annotated[int, Field(ge=0)] = 0
    steps: Count = 860
    cropped: Annotated[float, Field(ge=0, le=1)] = 0.8
    batch: Annotated[int, Field(ge=2)] = 32
    whole_batch: Annotated[int, Field(ge=2)] = 16
    image_learning_rate: Rate = 3e-4
    whole_image_learning_rate: Rate | None = None
    code_learning_rate: Rate = 2e-3
    reader_learning_rate: Rate | None = None
    reader_from: Annotated[float, Field(ge=0, le=1)] = 0.0
    weight_decay: Weight = 0.0
    clip: Weight = 5.0
    cycle: Annotated[int, Field(ge=0)] = 0
    likeness_db: Rate | None = None
    reading: Literal["plain", "calibrated", "retrained", "weights"] = "plain"
    photographs: Annotated[int, Field(ge=16)] = 400
    tuned: Annotated[int, Field(ge=2)] = 8
    retraining_steps: Count = 400
    searched: bool = False

    @field_validator("layers")
    @classmethod
    def _pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"expected a regular expression, got {value!r}: {error}") from None
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.likeness == "photograph" and self.latents != "photographs":
            raise ValueError('likeness = "photograph" needs latents = "photographs"')
        if self.worst_case and not self.noise:
            raise ValueError("worst_case needs noise")
        if self.reader != "extractor" and (self.extractor_marks or self.whitened_on == "host"):
            raise ValueError('extractor_marks and whitened_on need reader = "extractor"')
        learnt = self.bits + self.spare_bits
        if self.extractor_marks is not None and self.extractor_marks < learnt:
            raise ValueError(
                f"expected extractor_marks of at least bits + spare_bits = {learnt}, got "
                f"{self.extractor_marks}"
            )
        if self.spare_bits and self.reader != "extractor":
            raise ValueError('spare_bits need reader = "extractor"')
        if self.reader == "extractor" and self.cropped:
            raise ValueError('reader = "extractor" needs cropped = 0: it reads whole images')
        self._own_directions()
        return self

    def _own_directions(self) -> None:
        """What needs a bit's direction to be its own."""
        if self.carrier not in ("low-rank", "separable", "filter"):
            for wanted, asked in (
                ('reading = "weights" needs', self.reading == "weights"),
                ("spare_bits need", self.spare_bits > 0),
            ):
                if asked:
                    raise ValueError(
                        f'{wanted} a carrier whose bits have directions of their own: "low-rank", '
                        '"separable" or "filter"'
                    )

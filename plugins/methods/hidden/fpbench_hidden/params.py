"""Parameters of the method `hidden`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fpbench.api import Params
from fpbench.api.params import Local

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]

_PUBLISHED = {
    "bits": 30,
    "channels": 64,
    "batch": 12,
    "steps": 166_667,  # 200 epochs of 10,000 photographs
    "learning_rate": 1e-3,
}
_OF_SMALL = ("strength", "reader_channels", "likeness_weight", "likeness_db")
_OF_PAPER = (
    "crop",
    "quartered",
    "halved",
    "cooled",
    "noise",
    "message_weight",
    "image_weight",
    "adversary_weight",
    "least_firmness",
    "noise_from",
    "weights",
)


class HiddenParams(Params):
    """Sizes and training; the small form reads 32 bits at 31 dB after 20 s on two cores.

    Five parameters have other defaults where architecture = "paper", those that were published:
    bits 30, channels 64, batch 12, steps 166,667, learning_rate 1e-3. Those that belong to one
    architecture alone are refused with the other.

    Attributes:
        architecture: "small", or "paper" as published; see the card.
        bits: length of a code, K, from 1 to 256.
        channels: channels of the embedder; in "paper" of every block of all networks.
        strength: in "small", largest change of a value, on images in [-1, 1].
        reader_channels: in "small", channels of the extractor's first convolution.
        batch: images per step; in "small" half photographs and half the host's.
        steps: training steps.
        learning_rate: Adam's, for all networks; "paper" never lowers it.
        likeness_weight: in "small", of the squared change of the image, once codes can be read.
        likeness_db: in "small", PSNR that marked photographs shall have on average: after training
            the change is multiplied by what gives training photographs this; None = as trained.
        crop: in "paper", side of the random squares that training cuts out of photographs, at
            their own size, pixels; published 128.
        quartered: in "paper", share of the steps, the first ones, on squares of a quarter of that
            side, a sixteenth of the work: early on, what is learnt depends on steps more than on
            pixels. 0 as published.
        halved: in "paper", share of the steps, counted with these, on squares of half that side. 0
            as published. The last steps should see squares as large as the images: an extractor
            that has seen small ones alone reads larger images worse.
        cooled: in "paper", share of the steps, the last ones, over which the learning rate falls to
            0 on a line and likeness has its full weight. 0 as published.
        noise: in "paper", what training does to marked images: one layer of the paper with its
            strength there ("crop" keeps .035 of the area, "cropout" and "dropout" .3 of the marks,
            "gaussian-blur" has a deviation of 2 pixels, "jpeg-mask" keeps 25 coefficients of luma
            and 9 of each chroma, "jpeg-drop" is at quality 50), or "combined": the authors'
            eleven layers, one after the other, one a step; see `fpbench_hidden.paper_noise`.
        message_weight: in "paper", of the squared error of the bits; published 1.
        image_weight: in "paper", of the squared change of the image, in [-1, 1]; published .7.
        adversary_weight: in "paper", of the adversary's cross-entropy; published 1e-3. 0 trains
            without an adversary.
        least_firmness: in "paper", share of image_weight that holds until codes can be read: it
            rises to 1 while the training's bit accuracy does from .8 to .95. 1 as published; with
            .02 bits are learnt sooner.
        noise_from: in "paper", bit accuracy in training from which on marked images meet `noise`;
            from half of the steps on in any case. 0 as published: from the first step on.
        weights: in "paper", a file of weights to be taken as they are, in the place of a training:
            made by `python -m fpbench_hidden.converting` of a public checkpoint. `channels` and
            `bits` must be its own; what belongs to the training has no effect.
    """

    architecture: Literal["small", "paper"] = "small"
    bits: Annotated[int, Field(ge=1, le=256)] = 32
    channels: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    strength: Annotated[float, Field(gt=0, le=2)] = 0.2
    reader_channels: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    batch: Annotated[int, Field(ge=12, multiple_of=2)] = 24
    steps: Count = 300
    learning_rate: Rate = 2e-3
    likeness_weight: Weight = 35.0
    likeness_db: Rate | None = None
    crop: Annotated[int, Field(ge=16, multiple_of=16)] = 128
    quartered: Annotated[float, Field(ge=0, le=1)] = 0.0
    halved: Annotated[float, Field(ge=0, le=1)] = 0.0
    cooled: Annotated[float, Field(ge=0, le=1)] = 0.0
    noise: Literal[
        "identity",
        "crop",
        "cropout",
        "dropout",
        "gaussian-blur",
        "jpeg-mask",
        "jpeg-drop",
        "combined",
    ] = "identity"
    message_weight: Rate = 1.0
    image_weight: Weight = 0.7
    adversary_weight: Weight = 1e-3
    least_firmness: Annotated[float, Field(ge=0, le=1)] = 1.0
    noise_from: Annotated[float, Field(ge=0, le=1)] = 0.0
    weights: Annotated[str, Local()] = ""

    @model_validator(mode="before")
    @classmethod
    def _published(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("architecture") == "paper":
            return {**_PUBLISHED, **given}
        return given

    @model_validator(mode="after")
    def _only_where_it_acts(self) -> Self:
        small = self.architecture == "small"
        for name in _OF_PAPER if small else _OF_SMALL:
            if getattr(self, name) != type(self).model_fields[name].default:
                other = "paper" if small else "small"
                raise ValueError(f'{name} needs architecture = "{other}"')
        if self.quartered and self.crop % 32:
            raise ValueError(f"quartered needs a crop that is a multiple of 32, got {self.crop}")
        return self

"""Parameters of the method `hidden`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fpbench.api import Params

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

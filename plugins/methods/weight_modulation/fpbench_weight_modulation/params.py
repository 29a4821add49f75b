"""Parameters of the method `weight-modulation`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fpbench.api import Params

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class WeightModulationParams(Params):
    """Sizes and training; the defaults read 32 bits at 30 dB in half a minute on two cores.

    Attributes:
        bits: length of a code, K.
        hardened: whether the reader trains on distorted images (noise, blur, resizing, JPEG).
            Give it half as many steps again and a likeness weight of 40.
        embedding_dim: size of the code's embedding.
        code_gain: spread of the factors about 1 at the start; 1.0 costs quality, 0.3 does not.
        reader_channels: channels of the reader's first convolution.
        batch: images per step, one code each.
        steps: training steps.
        image_learning_rate: Adam's, for the host's convolutions and style maps.
        code_learning_rate: Adam's, for the code map and the reader.
        likeness_weight: of the squared difference to the host's image, once codes can be read.
    """

    bits: Annotated[int, Field(ge=1, le=256)] = 32
    hardened: bool = False
    embedding_dim: Count = 64
    code_gain: Rate = 0.3
    reader_channels: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    batch: Annotated[int, Field(ge=8)] = 32
    steps: Count = 450
    image_learning_rate: Rate = 5e-4
    code_learning_rate: Rate = 2e-3
    likeness_weight: Annotated[float, Field(ge=0)] = 24.0

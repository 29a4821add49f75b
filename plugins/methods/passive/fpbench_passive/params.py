"""Parameters of the methods `passive-detector` and `passive-attribution`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fpbench.api import Params

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class DetectorParams(Params):
    """Sizes, training and what images meet in it.

    Attributes:
        channels: of the classifier's first convolution.
        batch: images per step, of all classes in turn.
        steps: training steps.
        learning_rate: Adam's.
        augment: probability of a blur, and independently of JPEG.
        blur: largest deviation of the blur, pixels.
        quality: lowest quality of JPEG; the highest is 100.
    """

    channels: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    batch: Annotated[int, Field(ge=2)] = 48
    steps: Count = 250
    learning_rate: Rate = 1e-3
    augment: Annotated[float, Field(ge=0, le=1)] = 0.5
    blur: Annotated[float, Field(gt=0)] = 1.0
    quality: Annotated[int, Field(ge=1, le=100)] = 30


class AttributionParams(DetectorParams):
    """Those of the detector, and how much is asked of each user's model.

    Attributes:
        channels: of the classifier's first convolution.
        batch: images per step, of all classes in turn.
        steps: training steps.
        learning_rate: Adam's.
        augment: probability of a blur, and independently of JPEG.
        blur: largest deviation of the blur, pixels.
        quality: lowest quality of JPEG; the highest is 100.
        samples: images of each registered user's model to learn from.
    """

    steps: Count = 800
    samples: Count = 1000

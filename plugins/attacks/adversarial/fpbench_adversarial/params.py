"""Parameters of the attacks: what the adversary collects, how he learns, how far he goes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fpbench.api import Params

Count = Annotated[int, Field(ge=1)]
MOST_STEPS = 50


class PushParams(Params):
    """How a network is trained, and how images are pushed by its gradient.

    Attributes:
        channels: of its first convolution.
        steps: of its training.
        pgd_steps: in which an image is pushed.
        psnr: least PSNR of a pushed image to what it was, decibels; 0 = any.
    """

    channels: Count = 32
    steps: Count = 400
    pgd_steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 10
    psnr: Annotated[float, Field(ge=0)] = 30.0


class SurrogateParams(PushParams):
    """What a detector is taught with beside the clean images.

    Attributes:
        marked: images of other users.
        channels: of the network's first convolution.
        steps: of its training.
        pgd_steps: in which an image is pushed.
        psnr: least PSNR of a pushed image to what it was, decibels; 0 = any.
    """

    marked: Count = 400


class EmbedderLeakParams(PushParams):
    """What a reader is taught with.

    Attributes:
        marked: images that the adversary marks, clean ones in turn.
        codes: random ones that he marks them with.
        goal: "flip": towards the opposite of each bit that is read; "erase": towards none.
        channels: of the network's first convolution.
        steps: of its training.
        pgd_steps: in which an image is pushed.
        psnr: least PSNR of a pushed image to what it was, decibels; 0 = any.
    """

    marked: Count = 2048
    codes: Count = 256
    goal: Literal["flip", "erase"] = "flip"


class AverageParams(Params):
    """What the residual is made of.

    Attributes:
        marked: images of other users that are averaged.
        sigma: of the Gaussian whose smooth part is left out of the residual, pixels; 0 = all of it
            is kept.
    """

    marked: Count = 400
    sigma: Annotated[float, Field(ge=0)] = 1.0

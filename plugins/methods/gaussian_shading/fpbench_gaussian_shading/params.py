"""Parameters of the method `gaussian-shading`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fpbench.api import Params

Count = Annotated[int, Field(ge=1)]


class GaussianShadingParams(Params):
    """How much a latent carries; the defaults hold on the quickstart's host.

    The paper reads 256 bits of 16,384 latents with a new pad for every image.

    Attributes:
        bits: length of a code, K; each bit takes an equal share of the latents.
        streams: the owner's pads, R, one a sample; a copy shows R patterns of signs to whoever has
            many of its images, and each further one makes the search among them err more often.
        measured: host images for each of the two measures that `fit` makes of the round trip.
        least_accuracy: of bits, below which the round trip counts as none and `fit` refuses.
    """

    bits: Annotated[int, Field(ge=1, le=256)] = 4
    streams: Count = 8
    measured: Annotated[int, Field(ge=64)] = 2048
    least_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.9

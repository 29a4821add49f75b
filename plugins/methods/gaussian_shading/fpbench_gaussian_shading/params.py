"""Parameters of the method `gaussian-shading`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fpbench.api import Params

Count = Annotated[int, Field(ge=1)]


class GaussianShadingParams(Params):
    """How much the latents carry; the defaults read .998 of the bits on the quickstart's host.

    The paper reads 256 bits of 16,384 latents, under a new pad for every image.

    Attributes:
        bits: length of a code, K; each bit takes an equal share of the latents.
        streams: the owner's pads, R. With more of them the search for a sample's own one errs more
            often; with fewer, fewer images of one copy (two or three times R) give its signs away.
        measured: host images for each of the two measures that `fit` makes of the round trip.
        least_accuracy: of bits, below which the round trip counts as none and `fit` refuses.
    """

    bits: Annotated[int, Field(ge=1, le=256)] = 4
    streams: Count = 8
    measured: Annotated[int, Field(ge=64)] = 2048
    least_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.9

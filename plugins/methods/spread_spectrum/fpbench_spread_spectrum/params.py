"""Parameters of the method `spread-spectrum-audio`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from fpbench.api import Params


class SpreadSpectrumParams(Params):
    """How much is said, how loud, and where.

    Attributes:
        bits: length of a code, K.
        snr_db: least ratio of a sound to what marks it, dB.
        low_hz: where the band of the sequences begins.
        high_hz: where it ends; at most 0.9 of half the sampling rate is used.
        search_ms: shifts, earlier and later, at which a mark is looked for; 0 = none.
    """

    bits: Annotated[int, Field(ge=1, le=256)] = 24
    snr_db: Annotated[float, Field(ge=0, le=60)] = 21.0
    low_hz: Annotated[float, Field(ge=0)] = 500.0
    high_hz: Annotated[float, Field(gt=0)] = 3500.0
    search_ms: Annotated[float, Field(ge=0, le=1000)] = 100.0

    @model_validator(mode="after")
    def _a_band(self) -> Self:
        if self.low_hz >= self.high_hz:
            raise ValueError(
                f"expected low_hz below high_hz, got {self.low_hz:g} and {self.high_hz:g}"
            )
        return self

"""Parameters of the method `hidden-audio`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fpbench.api import Params

Count = Annotated[int, Field(ge=1)]
Decibels = Annotated[float, Field(ge=0, le=60)]


class HiddenAudioParams(Params):
    """Sizes and training; 24 bits at 22 dB after a minute and a half on one core.

    Attributes:
        bits: length of a code, K.
        snr_db: least ratio of a sound to what marks it, dB.
        frame: samples of a window of the spectra, a multiple of 8; a quarter of it is between two.
        channels: of the embedder's and the extractor's convolutions, a multiple of 8.
        carriers: maps of a sound that the bits weight.
        batch: sounds per step, half of the data set's and half of the host's.
        steps: training steps.
        learning_rate: Adam's, for both.
        boost_db: how much louder the mark is until it can be read; it is at `snr_db` once the
            training's bit accuracy has gone from .65 to .95.
        disturbed_from: bit accuracy in training from which on marked sounds meet the noise layers;
            from half of the steps on in any case.
    """

    bits: Annotated[int, Field(ge=1, le=256)] = 24
    snr_db: Decibels = 20.5
    frame: Annotated[int, Field(ge=64, le=4096, multiple_of=8)] = 256
    channels: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    carriers: Count = 12
    batch: Annotated[int, Field(ge=2, multiple_of=2)] = 20
    steps: Count = 500
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    boost_db: Decibels = 15.0
    disturbed_from: Annotated[float, Field(ge=0, le=1)] = 0.7

"""Parameters of the host `mel-decoder`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fpbench.api import Params

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]

HOP = 128
"""Samples of a sound that one frame of maps stands for."""


class MelDecoderParams(Params):
    """Sizes and training; the defaults make spoken digits of half a second in a CPU-minute.

    Attributes:
        bands: of a mel spectrum.
        components: principal components, the length of a latent.
        temperature: factor of their weights where sounds are drawn; below 1 for plainer and cleaner
            ones.
        sounds: that it learns from, at most: the first ones of the split.
        channels: of the decoder's last stage; earlier ones have twice, four and eight times as
            many.
        steps: of its training.
        batch: sounds of a step.
        learning_rate: Adam's, at its highest.
        mel_weight: of the error of log-mel spectra, beside that of spectra at four resolutions.
        average_decay: of the running average of the weights.
    """

    bands: Annotated[int, Field(ge=8, le=128)] = 40
    components: Count = 96
    temperature: Rate = 0.7
    sounds: Annotated[int, Field(ge=2)] = 4096
    channels: Annotated[int, Field(ge=4)] = 24
    steps: Count = 800
    batch: Count = 16
    learning_rate: Rate = 2e-3
    mel_weight: Annotated[float, Field(ge=0)] = 0.5
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.98

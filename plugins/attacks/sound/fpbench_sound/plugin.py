"""Attacks on sounds. The draws of a sound belong to its index and are shared by all strengths."""

from __future__ import annotations

from typing import Any

from fpbench.api import Attack, hookimpl
from fpbench_sound.compression import Aac, BitDepth, Mp3, MuLaw, Opus
from fpbench_sound.denoising import RnNoise
from fpbench_sound.filtering import (
    BandPass,
    Denoise,
    Downsample,
    HighPass,
    LowPass,
    MeanFilter,
)
from fpbench_sound.level import DynamicCompression, Gain, PhaseShift, Polarity
from fpbench_sound.masking import FrequencyMask, TimeMask
from fpbench_sound.noise import Noise
from fpbench_sound.room import Echo, Reverb
from fpbench_sound.timing import Pitch, Speed, TimeCrop, TimeJitter, TimeShift, TimeStretch


@hookimpl
def fpbench_attacks() -> list[type[Attack[Any]]]:
    """Attacks on sounds, by family."""
    return [
        Noise,
        LowPass,
        HighPass,
        BandPass,
        Downsample,
        MeanFilter,
        Denoise,
        RnNoise,
        MuLaw,
        BitDepth,
        Mp3,
        Aac,
        Opus,
        Gain,
        Polarity,
        PhaseShift,
        DynamicCompression,
        Echo,
        Reverb,
        TimeShift,
        TimeCrop,
        Speed,
        TimeStretch,
        Pitch,
        TimeJitter,
        TimeMask,
        FrequencyMask,
    ]

"""Filters, the loss of resolution, and denoising."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fpbench.api import Card, Context, NoParams, Params, Refusal, Setting, Strength
from fpbench_sound.base import SoundAttack, rate_of

if TYPE_CHECKING:
    from fpbench_sound.base import Sounds

_HIGHEST = 100_000  # Hz, above half the rate of any sound


def too_high(setting: Setting, what: str, hertz: float) -> Refusal | None:
    """Why a frequency cannot be told apart from others at the rate of the data set."""
    rate = setting.info.rate
    if not rate or hertz < rate / 2:
        return None
    return Refusal(f"{what} of {hertz:g} Hz is not below {rate / 2:g} Hz, half the data set's rate")


class LowPass(SoundAttack[NoParams]):
    """A windowed sinc of linear phase, its delay removed."""

    name = "low-pass"
    version = "1"
    Params = NoParams
    family = "filtering"
    strength = Strength("cutoff", "Hz", (3000, 2000, 1000), 20, _HIGHEST)
    card = Card(
        "Low-pass",
        "standard (Oppenheim and Schafer, Discrete-Time Signal Processing: window design)",
        "Apache-2.0",
        "Takes away what lies above the cut-off, at which the gain is a half.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the cut-off in hertz."""
        del indices
        from fpbench_sound import filters

        return filters.low_passed(sounds, strength, rate_of(ctx))

    def refuse(self, setting: Setting) -> Refusal | None:
        """A cut-off that the data set's rate does not reach."""
        return too_high(setting, "a cut-off", setting.strength or 0)


class HighPass(SoundAttack[NoParams]):
    """What the low-pass of the same cut-off takes away."""

    name = "high-pass"
    version = "1"
    Params = NoParams
    family = "filtering"
    strength = Strength("cutoff", "Hz", (200, 500, 1000), 0, _HIGHEST, identity=0)
    card = Card(
        "High-pass",
        "standard (Oppenheim and Schafer, Discrete-Time Signal Processing: window design)",
        "Apache-2.0",
        "Takes away what lies below the cut-off, at which the gain is a half.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the cut-off in hertz."""
        del indices
        from fpbench_sound import filters

        return filters.high_passed(sounds, strength, rate_of(ctx))

    def refuse(self, setting: Setting) -> Refusal | None:
        """A cut-off that the data set's rate does not reach."""
        return too_high(setting, "a cut-off", setting.strength or 0)


class BandPassParams(Params):
    """Where the band lies.

    Attributes:
        centre: its middle on the scale of octaves, Hz.
    """

    centre: Annotated[float, Field(gt=0, le=_HIGHEST)] = 1000.0


class BandPass(SoundAttack[BandPassParams]):
    """A low-pass at the upper end of a band and a high-pass at the lower end."""

    name = "band-pass"
    version = "1"
    Params = BandPassParams
    family = "filtering"
    strength = Strength("width", "octaves", (3, 2, 1), 0.1, 10)
    card = Card(
        "Band-pass",
        "standard; 3 octaves about 1 kHz are near the band of a telephone",
        "Apache-2.0",
        "Keeps a band about 1 kHz, or another centre, alone.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the width of the band in octaves, half of it on either side of the centre."""
        del indices
        from fpbench_sound import filters

        low, high = self._edges(strength)
        rate = rate_of(ctx)
        return filters.high_passed(filters.low_passed(sounds, high, rate), low, rate)

    def refuse(self, setting: Setting) -> Refusal | None:
        """A band that the data set's rate does not reach."""
        return too_high(setting, "an upper end", self._edges(setting.strength or 0)[1])

    def _edges(self, octaves: float) -> tuple[float, float]:
        half: float = 2 ** (octaves / 2)
        return self.params.centre / half, self.params.centre * half


class Downsample(SoundAttack[NoParams]):
    """Down to a lower rate, rounded to 16 bits, and up again."""

    name = "downsample"
    version = "1"
    Params = NoParams
    family = "filtering"
    strength = Strength("kept", "share of the rate", (0.75, 0.5, 0.25), 0.05, 1, identity=1)
    card = Card(
        "Resampling",
        "standard: band-limited interpolation (Smith and Gossett, ICASSP 1984)",
        "Apache-2.0",
        "Resamples to a lower rate and back.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the lower rate as a share of the sound's."""
        del indices, ctx
        import math

        import numpy as np

        from fpbench_sound import sampling

        length = sounds.shape[-1]
        low = sampling.at_speed(sounds, 1 / strength, math.ceil(strength * length))
        return sampling.at_speed(np.rint(low * 2**15) / 2**15, strength, length)


class MeanFilter(SoundAttack[NoParams]):
    """Means over neighbouring samples."""

    name = "mean-filter"
    version = "1"
    Params = NoParams
    family = "filtering"
    strength = Strength("width", "samples", (3, 5, 9), 1, 1001, odd=True, identity=1)
    card = Card(
        "Mean filter",
        "AudioMarkBench (Liu et al., NeurIPS 2024): smoothing over 6 to 22 samples at 16 kHz",
        "Apache-2.0",
        "Replaces each sample by the mean of those about it; silence lies beyond the ends.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the number of samples, odd."""
        del indices, ctx
        from fpbench_sound import filters

        return filters.averaged(sounds, int(strength))


class DenoiseParams(Params):
    """What is taken for noise.

    Attributes:
        margin: above a frequency's noise floor, dB; what does not exceed both is noise.
    """

    margin: Annotated[float, Field(ge=0, le=60)] = 3.0


class Denoise(SoundAttack[DenoiseParams]):
    """A spectral gate on short-time spectra."""

    name = "denoise"
    version = "1"
    Params = DenoiseParams
    family = "filtering"
    strength = Strength("reduction", "dB", (6, 12, 24), 0, 100, identity=0)
    card = Card(
        "Denoising",
        "spectral gating, as of Audacity and noisereduce (Sainburg et al. 2020)",
        "Apache-2.0",
        "Turns down what does not stand out from the noise floor of its frequency: the level that "
        "half of the sound's frames do not exceed.",
        "The floor is the sound's own median instead of the mean and spread of a stretch of noise.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is by how many dB noise is turned down."""
        del indices
        from fpbench_sound import spectra

        return spectra.gated(sounds, self.params.margin, strength, rate_of(ctx))

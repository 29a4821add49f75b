"""Level, sign and phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fpbench.api import Card, Context, NoParams, Params, Strength
from fpbench_sound.base import SoundAttack, rate_of

if TYPE_CHECKING:
    from fpbench_sound.base import Sounds


class Gain(SoundAttack[NoParams]):
    """Every sample times one factor."""

    name = "gain"
    version = "1"
    Params = NoParams
    family = "level"
    strength = Strength("gain", "dB", (-6, -12, -24), -90, 60, identity=0)
    card = Card(
        "Amplitude", "standard", "Apache-2.0", "Makes the sound softer, or louder until it clips."
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the factor in dB."""
        del indices, ctx
        changed: Sounds = sounds * 10 ** (strength / 20)
        return changed


class Polarity(SoundAttack[NoParams]):
    """Every sample with the other sign."""

    name = "polarity"
    version = "1"
    Params = NoParams
    family = "level"
    strength = None
    card = Card(
        "Polarity", "RAW-Bench (2025)", "Apache-2.0", "Turns the sound over; nobody hears it."
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """There is no strength: it is done or not."""
        del indices, strength, ctx
        return -sounds


class PhaseShift(SoundAttack[NoParams]):
    """All frequencies turned by one angle."""

    name = "phase-shift"
    version = "1"
    Params = NoParams
    family = "level"
    strength = Strength("angle", "degrees", (45, 90, 135), 0, 180, identity=0)
    card = Card(
        "Phase shift",
        "standard: a constant turn of the analytic signal (Gabor 1946)",
        "Apache-2.0",
        "Turns the phase of every frequency by one angle; magnitudes stay.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the angle in degrees; 180 is the other polarity."""
        del indices, ctx
        import numpy as np
        from scipy import fft

        length = sounds.shape[-1]
        # Silence behind the sound keeps its end from being turned into its beginning.
        frequencies = fft.rfft(sounds, 2 * length)
        # 0 Hz and half the rate have no phase that could be turned.
        turn = np.full(frequencies.shape[-1], np.exp(1j * np.radians(strength)))
        turn[[0, -1]] = np.cos(np.radians(strength))
        turned: Sounds = fft.irfft(frequencies * turn, 2 * length)[..., :length]
        return turned


class DynamicCompressionParams(Params):
    """What is turned down, and how fast.

    Attributes:
        threshold: below the loudest moment of a sound, dB; what is softer keeps its distance to it.
        window: over which a level is taken, ms.
    """

    threshold: Annotated[float, Field(ge=0, le=100)] = 24.0
    window: Annotated[float, Field(gt=0, le=1000)] = 20.0


class DynamicCompression(SoundAttack[DynamicCompressionParams]):
    """Loud and soft moments brought together; the loudest keeps its level."""

    name = "dynamic-compression"
    version = "1"
    Params = DynamicCompressionParams
    family = "level"
    strength = Strength("ratio", "", (2, 4, 8), 1, 100, identity=1)
    card = Card(
        "Dynamic compression",
        "static curve with a hard knee: Giannoulis, Massberg and Reiss, JAES 2012",
        "Apache-2.0",
        "Above a threshold, differences in level are divided by the ratio; then all is raised "
        "until the loudest moment has the level it had.",
        "The level is a centred mean square over 20 ms, in place of attack and release times.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the ratio."""
        del indices
        import numpy as np

        from fpbench_sound import filters

        width = 2 * round(self.params.window * rate_of(ctx) / 2000) + 1
        powers = filters.averaged(sounds**2, width).mean(axis=1, keepdims=True)
        level = 10 * np.log10(np.maximum(powers, 1e-20))  # of all channels, dB
        # How far a moment is below the loudest one, as far as the threshold.
        below = np.minimum(level.max(axis=-1, keepdims=True) - level, self.params.threshold)
        changed: Sounds = sounds * 10 ** ((1 - 1 / strength) * below / 20)
        return changed

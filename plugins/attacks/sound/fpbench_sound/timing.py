"""Time, speed, tempo and pitch: what takes a reader out of step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from fpbench.api import Card, Context, NoParams, Params, Strength
from fpbench_sound.base import SoundAttack, rate_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fpbench_sound.base import Sounds


class WayParams(Params):
    """Which way it goes.

    Attributes:
        way: "up" (faster, higher, later), "down", or "either" with equal chance for each sound.
    """

    way: Literal["either", "up", "down"] = "either"


class TimeShift(SoundAttack[WayParams]):
    """Later or earlier; silence comes in, what leaves is lost."""

    name = "time-shift"
    version = "1"
    Params = WayParams
    family = "timing"
    geometric = True
    strength = Strength("shift", "ms", (10, 50, 100), 0, 10_000, identity=0)
    card = Card(
        "Time shift",
        "standard",
        "Apache-2.0",
        "Moves the sound in time by whole samples, later or earlier with equal chance.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the shift in ms, rounded to samples."""
        from fpbench_sound import sampling

        samples = round(strength * rate_of(ctx) / 1000)
        ups = _ups(self.params, indices, ctx)
        return _by_way(sounds, ups, lambda some, way: sampling.moved(some, way * samples))


class TimeCrop(SoundAttack[NoParams]):
    """A random stretch of the sound from the start on, then silence."""

    name = "time-crop"
    version = "1"
    Params = NoParams
    family = "timing"
    geometric = True
    strength = Strength("kept", "share of the time", (0.9, 0.8, 0.6), 0.01, 1, identity=1)
    card = Card(
        "Crop in time",
        "standard: what a cut at both ends leaves",
        "Apache-2.0",
        "Cuts out a random stretch and moves it to the start; silence fills the rest.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the length of the stretch as a share of the sound's."""
        import numpy as np

        length = sounds.shape[-1]
        kept = max(1, round(strength * length))
        # One uniform places the stretch at every strength, so that a curve keeps its centre.
        starts = (ctx.image_uniforms(indices, 1)[:, 0] * (length - kept + 1)).astype(int)
        out = np.zeros_like(sounds)
        for sound, cropped, start in zip(sounds, out, starts, strict=True):
            cropped[:, :kept] = sound[:, start : start + kept]
        return out


class Speed(SoundAttack[WayParams]):
    """Played faster or slower, pitch and tempo together."""

    name = "speed"
    version = "1"
    Params = WayParams
    family = "timing"
    geometric = True
    strength = Strength("change", "share of the speed", (0.02, 0.05, 0.1), 0, 0.5, identity=0)
    card = Card(
        "Speed",
        "OmniSealBench (2025), which brings AudioSeal to chance at ±0.1",
        "Apache-2.0",
        "Plays the sound faster or slower with equal chance, as a tape does; the end is cut or "
        "padded with silence.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is how far the speed is from 1."""
        from fpbench_sound import sampling

        length = sounds.shape[-1]

        def played(some: Sounds, way: int) -> Sounds:
            return sampling.at_speed(some, 1 + way * strength, length)

        return _by_way(sounds, _ups(self.params, indices, ctx), played)


class TimeStretch(SoundAttack[WayParams]):
    """Another tempo at the same pitch."""

    name = "time-stretch"
    version = "1"
    Params = WayParams
    family = "timing"
    geometric = True
    strength = Strength("change", "share of the tempo", (0.05, 0.1, 0.2), 0, 0.5, identity=0)
    card = Card(
        "Time stretch",
        "phase vocoder: Flanagan and Golden 1966, Portnoff 1976; AudioMarkBench, .7 to 1.5",
        "Apache-2.0",
        "Plays the sound at a faster or slower tempo with equal chance, at its pitch; the end is "
        "cut or padded with silence.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is how far the tempo is from 1."""
        from fpbench_sound import spectra

        length, rate = sounds.shape[-1], rate_of(ctx)

        def played(some: Sounds, way: int) -> Sounds:
            return spectra.at_tempo(some, 1 + way * strength, length, rate)

        return _by_way(sounds, _ups(self.params, indices, ctx), played)


class Pitch(SoundAttack[WayParams]):
    """Another pitch at the same tempo."""

    name = "pitch"
    version = "1"
    Params = WayParams
    family = "timing"
    geometric = True
    strength = Strength("semitones", "", (0.5, 1, 2), 0, 12, identity=0)
    card = Card(
        "Pitch",
        "phase vocoder and resampling: Laroche and Dolson 1999",
        "Apache-2.0",
        "Raises or lowers the pitch with equal chance: stretched in time, then played at the speed "
        "that undoes the stretch. Formants move with it.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is how many semitones up or down."""
        import math

        from fpbench_sound import sampling, spectra

        length, rate = sounds.shape[-1], rate_of(ctx)

        def raised(some: Sounds, way: int) -> Sounds:
            factor = 2 ** (way * strength / 12)
            longer = spectra.at_tempo(some, 1 / factor, math.ceil(length * factor), rate)
            return sampling.at_speed(longer, factor, length)

        return _by_way(sounds, _ups(self.params, indices, ctx), raised)


class TimeJitter(SoundAttack[NoParams]):
    """Every sample taken a little too early or too late."""

    name = "time-jitter"
    version = "1"
    Params = NoParams
    family = "timing"
    strength = Strength("sigma", "µs", (10, 30, 100), 0, 10_000, identity=0)
    card = Card(
        "Time jitter",
        "RAW-Bench (2025); jitter of a sampling clock (Shinagawa et al. 1990)",
        "Apache-2.0",
        "Reads the sound at times that are off by independent normal numbers, the same in all "
        "channels.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the standard deviation of a sample's time in µs."""
        import numpy as np

        from fpbench_sound import sampling

        length, off = sounds.shape[-1], strength * 1e-6 * rate_of(ctx)
        out = np.empty_like(sounds)
        for number, index in enumerate(indices):
            drawn: Sounds = ctx.image_rng(index).standard_normal(sounds.shape[-1:])
            out[number] = sampling.at_times(sounds[number], np.arange(length) + off * drawn)
        return out


def _ups(params: WayParams, indices: Sequence[int], ctx: Context) -> NDArray[np.bool_]:
    """(N,) whether a sound goes up; of "either" its first uniform draw says so."""
    import numpy as np

    if params.way == "either":
        ups: NDArray[np.bool_] = ctx.image_uniforms(indices, 1)[:, 0] < 0.5
        return ups
    return np.full(len(indices), params.way == "up")


def _by_way(
    sounds: Sounds, ups: NDArray[np.bool_], change: Callable[[Sounds, int], Sounds]
) -> Sounds:
    """Sounds that `change` has made of those that go up (1), and of those that go down (-1)."""
    import numpy as np

    out = np.empty_like(sounds)
    for rows, way in ((ups, 1), (~ups, -1)):
        if rows.any():
            out[rows] = change(sounds[rows], way)
    return out

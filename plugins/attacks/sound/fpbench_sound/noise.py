"""Noise at a stated ratio of signal to noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from fpbench.api import Card, Context, Params, Strength
from fpbench_sound.base import SoundAttack, rate_of

if TYPE_CHECKING:
    from fpbench_sound.base import Sounds


class NoiseParams(Params):
    """What is heard.

    Attributes:
        kind: "white", of one power at all frequencies; "pink", of a power that falls as 1/f;
            "recorded", as of a room: rumble that falls as 1/f² above 100 Hz and comes and goes, and
            mains hum.
    """

    kind: Literal["white", "pink", "recorded"] = "white"


class Noise(SoundAttack[NoiseParams]):
    """Noise that is independent of the sound, all channels alike in power."""

    name = "noise"
    version = "1"
    Params = NoiseParams
    family = "noise"
    strength = Strength("snr", "dB", (30, 20, 10), -20, 100)
    card = Card(
        "Noise",
        "AudioMarkBench (Liu et al., NeurIPS 2024), 40 to 5 dB; pink: RAW-Bench (2025)",
        "Apache-2.0",
        "Adds noise so that the mean square of the sound over that of the noise is the strength: "
        "white, pink, or like that of a recording. Silence stays silent.",
        'Published lists mix in recordings; "recorded" is drawn by a formula.',
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the ratio of signal to noise in dB, of each sound by itself."""
        import numpy as np

        from fpbench_sound import signals

        rate, shape = rate_of(ctx), sounds.shape[1:]
        added = np.empty_like(sounds)
        for number, index in enumerate(indices):
            drawn = signals.NOISES[self.params.kind](ctx.image_rng(index), shape, rate)
            added[number] = drawn / np.sqrt(np.mean(drawn**2))
        level = np.sqrt(np.mean(sounds**2, axis=(1, 2), keepdims=True))
        changed: Sounds = sounds + added * level * 10 ** (-strength / 20)
        return changed

"""Attacks that leave a part out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fpbench.api import Card, Context, NoParams, Strength
from fpbench_sound.base import SoundAttack, rate_of

if TYPE_CHECKING:
    from fpbench_sound.base import Sounds


class TimeMask(SoundAttack[NoParams]):
    """One stretch of silence at a random place in each sound."""

    name = "time-mask"
    version = "1"
    Params = NoParams
    family = "masking"
    strength = Strength("share", "of the time", (0.05, 0.1, 0.2), 0, 1, identity=0)
    card = Card(
        "Time mask",
        "RAW-Bench (2025); SpecAugment (Park et al. 2019)",
        "Apache-2.0",
        "Silences a stretch; what lies about it stays where it is.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the length of the stretch as a share of the sound's."""
        length = sounds.shape[-1]
        masked = round(strength * length)
        starts = (ctx.image_uniforms(indices, 1)[:, 0] * (length - masked + 1)).astype(int)
        out = sounds.copy()
        for sound, start in zip(out, starts, strict=True):
            sound[:, start : start + masked] = 0
        return out


class FrequencyMask(SoundAttack[NoParams]):
    """One band left out, at a random place for each sound."""

    name = "frequency-mask"
    version = "1"
    Params = NoParams
    family = "masking"
    strength = Strength("share", "of the frequencies", (0.05, 0.1, 0.2), 0, 1, identity=0)
    card = Card(
        "Frequency mask",
        "RAW-Bench (2025); SpecAugment (Park et al. 2019)",
        "Apache-2.0",
        "Takes a band out of short-time spectra, from 0 Hz to half the rate.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the width of the band as a share of half the rate."""
        from fpbench_sound import spectra

        rate = rate_of(ctx)
        low = ctx.image_uniforms(indices, 1)[:, 0] * (1 - strength) * rate / 2
        # The last bin lies at half the rate itself and belongs to the band that ends there.
        high = low + strength * rate / 2 + (1 if strength == 1 else 0)
        return spectra.masked(sounds, low, high, rate)

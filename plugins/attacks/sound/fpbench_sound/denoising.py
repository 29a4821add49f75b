"""Noise suppression by the network that calls and recorders use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fpbench.api import Card, Context, NoParams, Strength
from fpbench_sound.base import SoundAttack, rate_of

if TYPE_CHECKING:
    from fpbench_sound.base import Sounds


class RnNoise(SoundAttack[NoParams]):
    """RNNoise at its 48 kHz, each channel by itself; the delay is removed."""

    name = "rnnoise"
    version = "1"
    Params = NoParams
    family = "filtering"
    strength = Strength("share", "", (0.5, 1.0), 0, 1, identity=0)
    card = Card(
        "RNNoise",
        "Valin 2018 (A Hybrid DSP/Deep Learning Approach to Real-Time Full-Band Speech "
        "Enhancement); the network that the package pyrnnoise brings",
        "Apache-2.0",
        "A recurrent network turns down what is not speech, band by band; the strength is the "
        "share of the result, beside the sound as it was.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the share of the denoised sound.

        Raises:
            MissingResource: pyrnnoise is not there.
        """
        del indices
        from fpbench_sound import suppression

        quiet = suppression.suppressed(sounds, f"attack {self.name}", rate_of(ctx))
        return sounds + strength * (quiet - sounds)

"""What a room adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fpbench.api import Card, Context, Params, Strength
from fpbench_sound.base import SoundAttack, rate_of

if TYPE_CHECKING:
    from fpbench_sound.base import Sounds


class EchoParams(Params):
    """When it comes.

    Attributes:
        delay: ms.
    """

    delay: Annotated[float, Field(gt=0, le=10_000)] = 100.0


class Echo(SoundAttack[EchoParams]):
    """The sound once more, later and softer."""

    name = "echo"
    version = "1"
    Params = EchoParams
    family = "room"
    strength = Strength("level", "share of the sound's", (0.3, 0.5, 0.8), 0, 1, identity=0)
    card = Card(
        "Echo",
        "AudioMarkBench (Liu et al., NeurIPS 2024), levels .1 to .9",
        "Apache-2.0",
        "Adds the sound once more, 100 ms later.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the amplitude of the echo over that of the sound."""
        del indices
        from fpbench_sound import sampling

        delay = max(1, round(self.params.delay * rate_of(ctx) / 1000))
        return sounds + strength * sampling.moved(sounds, delay)


class ReverbParams(Params):
    """How far away the sound is.

    Attributes:
        energy: of the reverberation over that of the direct sound, for each second of decay.
    """

    energy: Annotated[float, Field(gt=0, le=1000)] = 2.0


class Reverb(SoundAttack[ReverbParams]):
    """A room of its own for each sound; a longer decay is the same room with harder walls."""

    name = "reverb"
    version = "1"
    Params = ReverbParams
    family = "room"
    strength = Strength("rt60", "s", (0.2, 0.5, 1), 0, 10, identity=0)
    card = Card(
        "Reverberation",
        "impulse responses after Polack 1988: normal noise under an exponential decay",
        "Apache-2.0",
        "Convolves with the drawn response of a room, which loses 60 dB in the stated time; "
        "its energy grows with that time, as at one distance in one room.",
        "Published lists use recorded responses.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the decay time RT60 in seconds."""
        import numpy as np
        from scipy import signal

        from fpbench_sound import signals

        rate, length = rate_of(ctx), sounds.shape[-1]
        energy = self.params.energy * strength
        rooms = np.stack(
            [signals.room(ctx.image_rng(i), strength, energy, rate, length) for i in indices]
        )
        heard: Sounds = signal.fftconvolve(sounds, rooms[:, None], axes=-1)[..., :length]
        return heard

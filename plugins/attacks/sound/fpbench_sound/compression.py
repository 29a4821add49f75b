"""Fewer bits: companding, requantising, and the codecs that people use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from fpbench.api import Card, Context, NoParams, Strength
from fpbench_sound.base import SoundAttack, rate_of

if TYPE_CHECKING:
    from fpbench_sound.base import Sounds


class MuLaw(SoundAttack[NoParams]):
    """Through the 8 bits of a telephone line."""

    name = "mu-law"
    version = "1"
    Params = NoParams
    family = "compression"
    strength = None
    card = Card(
        "µ-law",
        "ITU-T G.711",
        "Apache-2.0",
        "Every sample through the 8-bit µ-law of telephony and back.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """There is no strength: it is done or not."""
        del indices, strength, ctx
        from fpbench_sound import levels

        return levels.mu_law(sounds)


class BitDepth(SoundAttack[NoParams]):
    """Every sample rounded to fewer bits."""

    name = "bit-depth"
    version = "1"
    Params = NoParams
    family = "compression"
    strength = Strength("bits", "", (8, 6, 4), 1, 16, whole=True, identity=16)
    card = Card(
        "Bit depth",
        "standard; quantisation of AudioMarkBench (Liu et al., NeurIPS 2024)",
        "Apache-2.0",
        "Rounds each sample to one of 2^bits levels, evenly spaced, 0 among them.",
    )

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the number of bits, 1 to 16."""
        del indices, ctx
        from fpbench_sound import levels

        return levels.rounded(sounds, int(strength))


class Coded(SoundAttack[NoParams]):
    """Encoded by a codec and decoded, each channel as a file of its own; the delay is removed."""

    codec: ClassVar[str]

    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """Strength is the bitrate in kbit/s; the encoder takes the nearest that it has.

        Raises:
            MissingResource: PyAV, or its encoder, is not there.
        """
        del indices
        from fpbench_sound import coding

        return coding.coded(sounds, f"attack {self.name}", self.codec, strength, rate_of(ctx))


class Mp3(Coded):
    """LAME at a constant bitrate, through PyAV."""

    name = "mp3"
    version = "1"
    Params = NoParams
    family = "compression"
    codec = "mp3"
    strength = Strength("bitrate", "kbit/s", (32, 16, 8), 8, 320)
    card = Card(
        "MP3",
        "ISO/IEC 11172-3 and 13818-3; LAME and FFmpeg's decoder",
        "Apache-2.0",
        "Encodes as MP3 of a constant bitrate and decodes; at a low rate of samples the format has "
        "low bitrates alone (64 kbit/s at most at 8 kHz).",
    )


class Aac(Coded):
    """FFmpeg's AAC at a constant bitrate, through PyAV."""

    name = "aac"
    version = "1"
    Params = NoParams
    family = "compression"
    codec = "aac"
    strength = Strength("bitrate", "kbit/s", (32, 16, 8), 4, 320)
    card = Card(
        "AAC",
        "ISO/IEC 14496-3, low complexity; FFmpeg's encoder and decoder",
        "Apache-2.0",
        "Encodes as AAC and decodes; at most 6 bits a sample are used.",
    )


class Opus(Coded):
    """libopus at its defaults for audio, through PyAV."""

    name = "opus"
    version = "1"
    Params = NoParams
    family = "compression"
    codec = "opus"
    strength = Strength("bitrate", "kbit/s", (24, 12, 6), 6, 256)
    card = Card(
        "Opus",
        "RFC 6716; libopus",
        "Apache-2.0",
        "Encodes as Opus of a variable bitrate and decodes; the decoder's 48 kHz are brought back "
        "to the rate of the sound.",
    )

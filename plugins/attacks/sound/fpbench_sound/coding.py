"""Real codecs through PyAV, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from fpbench.api import MissingResource
from fpbench_sound.sampling import at_speed, fitted

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.packet import Packet

    Packets = list[Packet[Any]]

Sounds = NDArray[np.float64]


@dataclass(frozen=True)
class _Codec:
    """What FFmpeg calls it.

    Attributes:
        encoder: its name.
        decoder: its name.
        form: of the samples that the encoder takes, floats.
        decoded_rate: hertz; 0 = that of the encoded sound.
    """

    encoder: str
    decoder: str
    form: str
    decoded_rate: int = 0


_CODECS = {
    "mp3": _Codec("libmp3lame", "mp3float", "fltp"),
    "aac": _Codec("aac", "aac", "fltp"),
    "opus": _Codec("libopus", "libopus", "flt", 48_000),
}


def coded(sounds: Sounds, who: str, codec: str, bitrate: float, rate: int) -> Sounds:
    """Sounds (N, C, T) in [-1, 1] after a codec, sample on sample: its delay is removed.

    A rate that the codec does not have is exchanged for the next higher one, or the highest, on the
    way.

    Args:
        sounds: each channel is encoded by itself.
        who: asks, for the message.
        codec: "mp3", "aac" or "opus".
        bitrate: kbit/s.
        rate: samples a second.

    Raises:
        MissingResource: PyAV, or the encoder in it, is not there.
    """
    kind, length = _CODECS[codec], sounds.shape[-1]
    rates = _rates(who, kind)
    inner = min((r for r in rates if r >= rate), default=max(rates))
    heard = sounds if inner == rate else at_speed(sounds, rate / inner, -(-length * inner // rate))
    outer = kind.decoded_rate or inner
    flat = [
        _through(channel, kind, bitrate, inner, outer)
        for channel in heard.reshape(-1, heard.shape[-1])
    ]
    needed = -(-heard.shape[-1] * outer // inner)
    out = np.stack([fitted(sound, needed) for sound in flat])
    if outer != rate:
        out = at_speed(out, outer / rate, length)
    return fitted(out, length).reshape(sounds.shape)


def _through(sound: Sounds, kind: _Codec, bitrate: float, rate: int, outer: int) -> Sounds:
    """One channel (T,) encoded and decoded, its first sample where it was."""
    packets, extradata = _encoded(sound, kind, bitrate, rate)
    decoder = _context(kind.decoder, "r", rate)
    # Decoders skip the delay of some codecs, and not of others; here none does.
    decoder.options = {"flags2": "+skip_manual"}
    decoder.extradata = extradata
    parts = [frame.to_ndarray() for packet in [*packets, None] for frame in decoder.decode(packet)]
    decoded: NDArray[Any] = np.concatenate(parts, axis=1)[0]
    scale = 2**15 if decoded.dtype == np.int16 else 1
    # The first packet's time is minus the delay of encoder and decoder.
    delay = round(-(packets[0].pts or 0) * packets[0].time_base * outer)
    return decoded[delay:].astype(np.float64) / scale


def _encoded(
    sound: Sounds, kind: _Codec, bitrate: float, rate: int
) -> tuple[Packets, bytes | None]:
    import av

    encoder = _context(kind.encoder, "w", rate)
    encoder.format = av.AudioFormat(kind.form)
    encoder.bit_rate = round(1000 * bitrate)
    encoder.time_base = Fraction(1, rate)
    encoder.open()
    samples = sound.astype(np.float32)
    packets: Packets = []
    for start in range(0, len(samples), encoder.frame_size):
        part = samples[None, start : start + encoder.frame_size]
        frame = av.AudioFrame.from_ndarray(part, format=kind.form, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, encoder.time_base
        packets += encoder.encode(frame)
    return packets + encoder.encode(None), encoder.extradata


def _context(name: str, mode: Literal["r", "w"], rate: int) -> AudioCodecContext:
    import av

    context = cast("AudioCodecContext", av.CodecContext.create(name, mode))
    context.sample_rate, context.layout = rate, "mono"
    return context


def _rates(who: str, kind: _Codec) -> list[int]:
    """The rates that an encoder takes.

    Raises:
        MissingResource: PyAV, or the encoder in it, is not there.
    """
    try:
        import av
    except ImportError as error:
        raise MissingResource(
            f"{who}: expected PyAV with FFmpeg's {kind.encoder}, which cannot be imported here "
            f"({error}); run in fpbench's folder: uv sync --extra audio "
            "(or pip install 'fpbench[audio]')"
        ) from error
    try:
        return list(av.Codec(kind.encoder, "w").audio_rates or [])
    except ValueError as error:  # PyAV's error of an unknown codec is one
        raise MissingResource(
            f"{who}: expected a PyAV with FFmpeg's {kind.encoder}, got {av.__version__} without; "
            "install the wheel of av, which brings it: pip install --force-reinstall av"
        ) from error

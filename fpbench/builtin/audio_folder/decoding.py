"""One encoded sound as 16-bit samples of one channel: the rule that is part of every number.

Channels are averaged. Values over full scale, which floats may have, are scaled down together until
the largest is full scale. Another rate is resampled by a polyphase filter. Of what is longer the
middle is taken; what is shorter stands in the middle of silence. Then rounded to 16 bits.
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fpbench.api import MissingResource
from fpbench.builtin.audio_folder.findings import Kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LONGEST_S, _SHORTEST_S = 600.0, 0.02
_RATES = (1_000, 768_000)
_CLIPPED_SHARE = 0.01
_FULL = 2.0**15
# A file that was written as it came tells no size, or the largest.
_UNTOLD = (0, 0xFFFFFFFF)


class UnfitSound(Exception):
    """The bytes are no sound that can be used; says of which kind it is, and why."""

    def __init__(self, kind: Kind, why: str = "") -> None:
        super().__init__(why)
        self.kind = kind


@dataclass(frozen=True)
class Decoded:
    """A sound as it is used.

    Attributes:
        samples: (1, length) int16.
        done: what was done to it.
    """

    samples: NDArray[np.int16]
    done: tuple[Kind, ...]


def decode(data: bytes, rate: int, length: int) -> Decoded:
    """An encoded sound at a rate and length.

    Args:
        data: of a WAV, FLAC, MP3 or OGG file.
        rate: wanted, hertz.
        length: wanted, samples.

    Raises:
        UnfitSound: it is damaged, no sound, silent, too short or too long.
        MissingResource: the library that decodes is not installed.
    """
    import numpy as np

    values, own, deep = _values(data)
    done = {Kind.DEEP: deep, Kind.MIXED: values.shape[1] > 1}
    sound = values.mean(axis=1)
    peak = float(np.abs(values).max())
    done[Kind.SCALED] = peak > 1
    full = np.abs(values) >= 1 - 1 / _FULL
    done[Kind.CLIPPED] = peak <= 1 and float(full.mean()) > _CLIPPED_SHARE
    if peak > 1:
        sound = sound / peak
    wanted = length * own / rate
    done |= {
        Kind.RESAMPLED: own != rate,
        Kind.CUT: len(sound) > math.ceil(wanted),
        Kind.PADDED: len(sound) < math.floor(wanted),
    }
    if own != rate:
        sound = _resampled(sound, own, rate, math.ceil(wanted))
    levels = np.rint(_fitted(sound, length) * _FULL).clip(-_FULL, _FULL - 1)
    if not levels.any():
        raise UnfitSound(Kind.SILENT)
    samples = levels.astype(np.int16)[None]
    return Decoded(samples, tuple(kind for kind, true in done.items() if true))


def decode_whole(data: bytes) -> tuple[NDArray[np.int16], int]:
    """(C, T) int16 of an encoded sound as it lies, and its rate in hertz; floats scaled to fit.

    Raises:
        UnfitSound: as of `decode`, but that it may be silent.
        MissingResource: the library that decodes is not installed.
    """
    import numpy as np

    values, rate, _ = _values(data)
    values = values / max(1.0, float(np.abs(values).max()))
    levels = np.rint(values.T * _FULL).clip(-_FULL, _FULL - 1)
    return np.ascontiguousarray(levels, np.int16), rate


def _resampled(sound: NDArray[np.float64], own: int, rate: int, wanted: int) -> NDArray[np.float64]:
    """At another rate; of a long sound no more than what `wanted` samples in the middle need."""
    from scipy.signal import resample_poly

    # The filter reaches ten periods of the lower rate to each side.
    reach = 20 * math.ceil(max(1, own / rate))
    if len(sound) > wanted + 2 * reach:
        sound = _fitted(sound, wanted + 2 * reach)
    common = math.gcd(own, rate)
    found: NDArray[np.float64] = resample_poly(sound, rate // common, own // common)
    return found


def _fitted(sound: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """The middle of a sound, or the sound in the middle of silence."""
    import numpy as np

    if len(sound) >= length:
        start = (len(sound) - length) // 2
        return sound[start : start + length]
    before = (length - len(sound)) // 2
    return np.pad(sound, (before, length - len(sound) - before))


def _values(data: bytes) -> tuple[NDArray[np.float64], int, bool]:
    """(T, C) values of a file, full scale at 1, its rate, and whether it has more than 16 bits."""
    import numpy as np

    soundfile = _library()
    _check_size(data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate, told = int(file.samplerate), int(file.frames)
            if not _RATES[0] <= rate <= _RATES[1]:
                raise UnfitSound(Kind.BROKEN, f"a rate of {rate:,} Hz")
            if told > _LONGEST_S * rate:
                raise UnfitSound(Kind.LONG, f"{told / rate:,.0f} s")
            deep = file.subtype in ("PCM_24", "PCM_32", "FLOAT", "DOUBLE")
            values = file.read(dtype="float64", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, ValueError, TypeError, OSError) as error:
        raise UnfitSound(Kind.BROKEN, _why(data, error)) from None
    if len(values) < told:
        raise UnfitSound(Kind.BROKEN, f"truncated: {len(values):,} of {told:,} samples")
    if not np.isfinite(values).all():
        raise UnfitSound(Kind.BROKEN, "values that are not numbers, or infinite")
    if len(values) < _SHORTEST_S * rate:
        raise UnfitSound(Kind.SHORT, f"{len(values):,} samples")
    return values, rate, deep


def _check_size(data: bytes) -> None:
    """Refuse a WAV file that ends before its header says; decoders read what is there."""
    if not data:
        raise UnfitSound(Kind.BROKEN, "empty")
    if data[:4] != b"RIFF" or len(data) < 12:
        return
    (told,) = struct.unpack("<I", data[4:8])
    if told not in _UNTOLD and told + 8 > len(data) + 1:
        raise UnfitSound(Kind.BROKEN, f"truncated: {len(data):,} of {told + 8:,} bytes")


def _why(data: bytes, error: Exception) -> str:
    """What is wrong with bytes that no sound could be made of."""
    if data[:512].isascii() and b"\0" not in data[:512]:
        return "text"
    # The library names the object in memory, which tells nobody anything.
    text = str(getattr(error, "error_string", "")) or str(error) or type(error).__name__
    return text.splitlines()[0].rstrip(".")


def _library() -> Any:
    try:
        import soundfile  # type: ignore[import-untyped]
    except (ImportError, OSError) as error:
        raise MissingResource(
            f"dataset audio-folder: expected the library soundfile, got {error}; run in fpbench's "
            "folder: uv sync --extra audio (or pip install 'fpbench[audio]')"
        ) from None
    return soundfile

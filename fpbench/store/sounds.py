"""Sounds beside strips: a WAV file of a strip's name, in which its samples are heard."""

from __future__ import annotations

import io
import wave
from pathlib import Path

from fpbench.api import StoreError

__all__ = ["first_of", "sound_beside"]


def sound_beside(strip: Path) -> Path:
    """Where the sound of a strip lies, if it has one."""
    return strip.with_suffix(".wav")


def first_of(path: Path, count: int, most: int) -> bytes:
    """A WAV file of the first sounds of a file of several.

    Args:
        path: of sounds of equal length one after the other.
        count: how many there are.
        most: how many are wanted.

    Raises:
        StoreError: it is no such file.
    """
    try:
        with wave.open(str(path), "rb") as file:
            wanted = file.getnframes() // count * min(most, count)
            params, frames = file.getparams(), file.readframes(wanted)
    except (OSError, EOFError, wave.Error) as error:
        raise StoreError(
            f"page: expected a WAV file of a strip's sounds in {path}, got {error}; run the suite "
            "again to write it, or take it away",
            path=str(path),
        ) from None
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setparams(params)
        file.writeframes(frames)
    return written.getvalue()

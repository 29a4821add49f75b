"""Sounds as files that pages show and play; without torch, as pages are made."""

from __future__ import annotations

import io
import wave

import numpy as np
from numpy.typing import NDArray

__all__ = ["spectrogram", "wav"]

_SIDE = 96
_WINDOW = 2 * _SIDE
# Fainter than a full-scale sine by more than this is black.
_RANGE_DB = 80.0
_PAUSE_S = 0.15


def spectrogram(sounds: NDArray[np.int16]) -> NDArray[np.uint8]:
    """(96, N * 96) grey levels: a sound's power by frequency, upwards, and time, side by side.

    Args:
        sounds: (N, C, T); channels are mixed down. The highest row is half of the rate, whatever it
            is.
    """
    mono = sounds.mean(axis=1) / 2**15
    # As many columns whatever the length; windows overlap by half at least.
    hop = max(1, min(-(-mono.shape[1] // _SIDE), _WINDOW // 2))
    padded = np.pad(mono, ((0, 0), (_WINDOW // 2, _WINDOW // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW, axis=1)[:, ::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    spectrum = np.fft.rfft(frames * (hann * 4 / _WINDOW), axis=2)[:, :, :_SIDE]
    power = np.abs(spectrum) ** 2
    count = power.shape[1]
    # Each column is the mean of the frames that it overlaps.
    columns = [
        power[:, i * count // _SIDE : -(-(i + 1) * count // _SIDE)].mean(axis=1)
        for i in range(_SIDE)
    ]
    shown = np.stack(columns, axis=2)[:, ::-1]
    levels = 1 + np.log10(np.maximum(shown, 1e-12)) * (10 / _RANGE_DB)
    grey = np.round(np.clip(levels, 0, 1) * 255).astype(np.uint8)
    return np.concatenate(list(grey), axis=1)


def wav(sounds: NDArray[np.int16], rate: int, pause_s: float = _PAUSE_S) -> bytes:
    """A WAV file of the sounds one after the other.

    Args:
        sounds: (N, C, T).
        rate: samples in a second, hertz.
        pause_s: silence after each, seconds.
    """
    channels = sounds.shape[1]
    paused = np.pad(sounds, ((0, 0), (0, 0), (0, round(pause_s * rate))))
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(paused.transpose(0, 2, 1).astype("<i2").tobytes())
    return written.getvalue()

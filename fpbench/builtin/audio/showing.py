"""Sounds as files that pages show and play."""

from __future__ import annotations

import io
import wave

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fpbench.api.sounds import to_float

__all__ = ["spectrogram", "wav"]

_SIDE = 96
_WINDOW = 2 * _SIDE
# Fainter than a full-scale sine by more than this is black.
_RANGE_DB = 80.0
_PAUSE_S = 0.15


def spectrogram(sounds: Tensor) -> NDArray[np.uint8]:
    """(96, N * 96) grey levels: a sound's power by frequency, upwards, and time, side by side.

    Args:
        sounds: (N, C, T) int16; channels are mixed down. The highest row is half of the rate,
            whatever it is.
    """
    mono = to_float(sounds).mean(dim=1)
    # As many columns whatever the length; windows overlap by half at least.
    hop = max(1, min(-(-mono.shape[1] // _SIDE), _WINDOW // 2))
    spectrum = torch.stft(
        mono,
        _WINDOW,
        hop,
        window=torch.hann_window(_WINDOW) * (4 / _WINDOW),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    power = spectrum.abs().square()[:, None, :_SIDE]
    power = torch.nn.functional.adaptive_avg_pool2d(power, _SIDE)[:, 0]
    levels = 1 + power.clamp_min(1e-12).log10() * (10 / _RANGE_DB)
    grey = (levels.clamp(0, 1) * 255).round().to(torch.uint8).flip(1)
    return np.concatenate(list(grey.numpy()), axis=1)


def wav(sounds: Tensor, rate: int, pause_s: float = _PAUSE_S) -> bytes:
    """A WAV file of the sounds one after the other.

    Args:
        sounds: (N, C, T) int16.
        rate: samples in a second, hertz.
        pause_s: silence after each, seconds.
    """
    count, channels, _ = sounds.shape
    pause = sounds.new_zeros((count, channels, round(pause_s * rate)))
    frames = torch.cat([sounds, pause], dim=2).permute(0, 2, 1).numpy()
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(frames, "<i2").tobytes())
    return written.getvalue()

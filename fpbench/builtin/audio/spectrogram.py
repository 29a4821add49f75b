"""Sounds as pictures."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fpbench.api.sounds import to_float

__all__ = ["spectrogram"]

_ROWS, _COLUMNS = 64, 96
_WINDOW = 2 * _ROWS
# Fainter than a full-scale sine by more than this is black.
_RANGE_DB = 80.0


def spectrogram(sounds: Tensor) -> NDArray[np.uint8]:
    """(64, N * 96) grey levels: a sound's power by frequency, upwards, and time, side by side.

    Args:
        sounds: (N, C, T) int16; channels are mixed down. The highest row is half of the rate,
            whatever it is.
    """
    mono = to_float(sounds).mean(dim=1)
    # As many columns whatever the length; windows overlap by half at least.
    hop = max(1, min(-(-mono.shape[1] // _COLUMNS), _WINDOW // 2))
    power = torch.stft(
        mono,
        _WINDOW,
        hop,
        window=torch.hann_window(_WINDOW),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    power = power.abs().square()[:, :_ROWS]
    power = torch.nn.functional.adaptive_avg_pool2d(power[:, None], (_ROWS, _COLUMNS))[:, 0]
    full = (_WINDOW / 4) ** 2
    levels = 1 + (power / full).clamp_min(1e-12).log10() * (10 / _RANGE_DB)
    grey = (levels.clamp(0, 1) * 255).round().to(torch.uint8).flip(1)
    return np.concatenate(list(grey.numpy()), axis=1)

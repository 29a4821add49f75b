"""Sounds on fewer levels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Sounds = NDArray[np.float64]

_FULL = 2**15
_BIAS = 132  # puts the edges of the segments on powers of two
_CLIP = 32635


def rounded(sounds: Sounds, bits: int) -> Sounds:
    """Samples in [-1, 1] as the nearest multiples of 2^(1 - bits), as far as signed bits reach."""
    half = 2 ** (bits - 1)
    levels: Sounds = np.clip(np.rint(sounds * half), -half, half - 1) / half
    return levels


def mu_law(sounds: Sounds) -> Sounds:
    """Samples in [-1, 1] as G.711's µ-law tells them: 8 segments of 16 levels for each sign."""
    samples = np.rint(sounds * _FULL).astype(np.int64)
    biased = np.minimum(np.abs(samples), _CLIP) + _BIAS
    segment = np.frexp(biased)[1] - 8  # 0 from 128 on, 7 from 16384 on
    step = segment + 3
    # Half a step above the lower edge is the middle of the 16 levels of a segment.
    told = ((biased >> step) << step) + (1 << (step - 1)) - _BIAS
    decoded: Sounds = np.sign(samples) * told / _FULL
    return decoded

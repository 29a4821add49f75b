"""Filters of linear phase, their delay removed; beyond the ends of a sound there is silence."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

Sounds = NDArray[np.float64]

_CROSSINGS = 16  # of the sinc, on either side


def low_taps(cutoff_hz: float, rate: int) -> Sounds:
    """(2r + 1,) taps of a low-pass: a sinc under a Blackman window, of gain 1 at 0 Hz.

    The gain is a half at the cut-off; the transition takes some 3/8 of it.
    """
    reach = math.ceil(_CROSSINGS * rate / (2 * cutoff_hz))
    taps = np.sinc(2 * cutoff_hz / rate * np.arange(-reach, reach + 1)) * np.blackman(2 * reach + 1)
    normed: Sounds = taps / taps.sum()
    return normed


def low_passed(sounds: Sounds, cutoff_hz: float, rate: int) -> Sounds:
    """Sounds (..., T) without what lies above."""
    taps = low_taps(cutoff_hz, rate).reshape((1,) * (sounds.ndim - 1) + (-1,))
    passed: Sounds = signal.fftconvolve(sounds, taps, mode="same", axes=-1)
    return passed


def high_passed(sounds: Sounds, cutoff_hz: float, rate: int) -> Sounds:
    """Sounds (..., T) without what lies below: what the low-pass takes away."""
    return sounds - low_passed(sounds, cutoff_hz, rate)


def averaged(sounds: Sounds, width: int) -> Sounds:
    """Means of `width` samples about each, odd."""
    means: Sounds = ndimage.uniform_filter1d(sounds, width, axis=-1, mode="constant")
    return means

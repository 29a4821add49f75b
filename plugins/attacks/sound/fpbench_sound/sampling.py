"""Sounds read at other times than those of their samples, between silence on both sides."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Sounds = NDArray[np.float64]

_CROSSINGS = 16  # of the sinc, on either side


def at_times(sounds: Sounds, times: Sounds) -> Sounds:
    """Sounds (..., T) at (L,) times in samples, (..., L): a sinc under a Blackman window."""
    return _through(_matrix(times, 1.0, sounds.shape[-1]), sounds)


def at_speed(sounds: Sounds, speed: float, length: int) -> Sounds:
    """(..., length): sample i is the sound (..., T) at i × speed, what would alias filtered out."""
    return _through(_steady(float(speed), length, sounds.shape[-1]), sounds)


def fitted(sounds: Sounds, length: int) -> Sounds:
    """Cut, or padded with silence at the end, (..., length)."""
    out = np.zeros((*sounds.shape[:-1], length))
    kept = min(length, sounds.shape[-1])
    out[..., :kept] = sounds[..., :kept]
    return out


def moved(sounds: Sounds, samples: int) -> Sounds:
    """Sounds (..., T) that come so many samples later, or earlier; silence follows."""
    out = np.zeros_like(sounds)
    length = sounds.shape[-1]
    if abs(samples) < length:
        kept = length - abs(samples)
        late, early = max(samples, 0), max(-samples, 0)
        out[..., late : late + kept] = sounds[..., early : early + kept]
    return out


@lru_cache(maxsize=8)  # some 3 MB each; a batch meets two
def _steady(speed: float, length: int, full: int) -> sparse.csr_array:
    times: Sounds = np.arange(length) * np.float64(speed)
    return _matrix(times, min(1.0, 1 / speed), full)


def _matrix(times: Sounds, band: float, full: int) -> sparse.csr_array:
    """(L, full) weights, whose low-pass keeps the lower `band` of the frequencies, up to 1.

    There the gain is a half; the transition takes some 3/8 of it.
    """
    reach = _CROSSINGS / band
    first = np.ceil(times - reach).astype(np.int64)
    places = first[:, None] + np.arange(math.floor(2 * reach) + 1)
    apart = times[:, None] - places
    cosine = np.cos(np.pi * apart / reach)
    window = 0.34 + 0.5 * cosine + 0.16 * cosine**2  # Blackman's, whose second cosine is 2 c² - 1
    inside = (np.abs(apart) <= reach) & (places >= 0) & (places < full)
    weights = np.where(inside, band * np.sinc(band * apart) * window, 0)
    places = np.clip(places, 0, full - 1)
    starts = np.arange(len(times) + 1) * places.shape[1]
    return sparse.csr_array((weights.ravel(), places.ravel(), starts), shape=(len(times), full))


def _through(matrix: sparse.csr_array, sounds: Sounds) -> Sounds:
    flat = np.ascontiguousarray(sounds.reshape(-1, sounds.shape[-1]).T)
    read: Sounds = np.ascontiguousarray((matrix @ flat).T)
    return read.reshape(*sounds.shape[:-1], matrix.shape[0])

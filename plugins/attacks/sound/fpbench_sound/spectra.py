"""Short-time spectra: there and back, other tempos by a phase vocoder, spectral gates."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from fpbench_sound.sampling import fitted

Sounds = NDArray[np.float64]
Spectra = NDArray[np.complex128]

_OVERLAP = 4
_WINDOW_S = 0.05


def size_of(rate: int) -> int:
    """Samples of a window: the power of two that is nearest to 50 ms, by ratio."""
    return max(8, 1 << round(math.log2(_WINDOW_S * rate)))


def spectra(sounds: Sounds, size: int) -> Spectra:
    """(..., frames, size // 2 + 1) of sounds (..., T): Hann windows, a quarter apart.

    Frame k is centred on sample k × size / 4; beyond the ends there is silence.
    """
    hop, length = size // _OVERLAP, sounds.shape[-1]
    frames = math.ceil(length / hop) + 1
    before = size // 2
    padded = np.zeros((*sounds.shape[:-1], (frames - 1) * hop + size))
    padded[..., before : before + length] = sounds
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=-1)[..., ::hop, :]
    transformed: Spectra = fft.rfft(windows * _hann(size), axis=-1)
    return transformed


def sounds_of(frames: Spectra, size: int, length: int) -> Sounds:
    """(..., length) whose spectra are nearest to these: windowed again, added, divided by Σ w²."""
    hop, count = size // _OVERLAP, frames.shape[-2]
    parts = fft.irfft(frames, size, axis=-1) * _hann(size)
    blocks = parts.reshape(*parts.shape[:-1], _OVERLAP, hop)
    squares = (_hann(size) ** 2).reshape(_OVERLAP, hop)
    total = np.zeros((*parts.shape[:-2], count + _OVERLAP - 1, hop))
    weight = np.zeros((count + _OVERLAP - 1, hop))
    for block in range(_OVERLAP):
        total[..., block : block + count, :] += blocks[..., block, :]
        weight[block : block + count] += squares[block]
    flat = (total / np.maximum(weight, 1e-8)).reshape(*total.shape[:-2], -1)
    return fitted(flat[..., size // 2 :], length)


def at_tempo(sounds: Sounds, tempo: float, length: int, rate: int) -> Sounds:
    """(..., length) of sounds (..., T) played so many times as fast, at the same pitch.

    A phase vocoder with identity phase locking (Laroche and Dolson 1999, section III): between
    frames magnitudes are interpolated; at each peak of a spectrum the phase goes on by what it
    advances in the sound, and the bins about it keep their differences to it.
    """
    size = size_of(rate)
    frames = spectra(sounds, size)
    # One frame more than are read, so that the last one has a successor.
    frames = np.concatenate([frames, np.zeros_like(frames[..., :1, :])], axis=-2)
    places = np.arange(0, frames.shape[-2] - 1, tempo, dtype=np.float64)
    before = places.astype(np.int64)
    part = (places - before)[:, None]
    whole: Sounds = np.abs(frames)
    angle = np.angle(frames)
    magnitude = (1 - part) * whole[..., before, :] + part * whole[..., before + 1, :]
    advance = np.diff(angle, axis=-2)[..., before, :]
    angle = angle[..., before, :]
    peaks = _nearest_peaks(magnitude)
    turned = np.empty_like(angle)
    turned[..., 0, :] = angle[..., 0, :]
    # A whole turn more or less in `advance` changes nothing: frames follow one another as they did.
    for now in range(1, len(places)):
        gone = turned[..., now - 1, :] + advance[..., now - 1, :] - angle[..., now, :]
        turned[..., now, :] = angle[..., now, :] + np.take_along_axis(
            gone, peaks[..., now, :], axis=-1
        )
    return sounds_of(magnitude * np.exp(1j * turned), size, length)


def _nearest_peaks(magnitude: Sounds) -> NDArray[np.int64]:
    """(..., K) for each of K bins the nearest that is larger than its two neighbours either way.

    The largest is one in any case.
    """
    bins = np.arange(magnitude.shape[-1])
    around = np.pad(magnitude, [(0, 0)] * (magnitude.ndim - 1) + [(2, 2)], constant_values=-1)
    others = [around[..., shift : shift + len(bins)] for shift in (0, 1, 3, 4)]
    peak = (magnitude > np.maximum.reduce(others)) | (
        bins == magnitude.argmax(axis=-1, keepdims=True)
    )
    below = np.maximum.accumulate(np.where(peak, bins, -len(bins)), axis=-1)
    above = np.where(peak, bins, 3 * len(bins))[..., ::-1]
    above = np.minimum.accumulate(above, axis=-1)[..., ::-1]
    nearest: NDArray[np.int64] = np.where(bins - below <= above - bins, below, above)
    return nearest


def masked(sounds: Sounds, low_hz: Sounds, high_hz: Sounds, rate: int) -> Sounds:
    """Sounds (N, C, T) without their bins from (N,) `low_hz` on to below `high_hz`."""
    size = size_of(rate)
    bins = fft.rfftfreq(size, 1 / rate)
    kept = (bins < low_hz[:, None]) | (bins >= high_hz[:, None])
    return sounds_of(spectra(sounds, size) * kept[:, None, None, :], size, sounds.shape[-1])


def gated(sounds: Sounds, margin_db: float, reduction_db: float, rate: int) -> Sounds:
    """Sounds (..., T) whose bins near each frequency's own noise floor are turned down.

    Args:
        sounds: in [-1, 1].
        margin_db: above the floor, which is the median of a frequency's frames; what does not
            exceed both is taken for noise.
        reduction_db: by which noise is turned down.
        rate: samples a second.
    """
    size = size_of(rate)
    frames = spectra(sounds, size)
    magnitude = np.abs(frames)
    floor = np.median(magnitude, axis=-2, keepdims=True)
    kept = (magnitude > floor * 10 ** (margin_db / 20)).astype(float)
    # Means over 3 × 3 bins, so that single bins do not ring ("musical noise").
    window = (*(1 for _ in kept.shape[:-2]), 3, 3)
    kept = ndimage.uniform_filter(kept, window, mode="nearest")
    low = 10 ** (-reduction_db / 20)
    return sounds_of(frames * (low + (1 - low) * kept), size, sounds.shape[-1])


def _hann(size: int) -> Sounds:
    window: Sounds = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return window

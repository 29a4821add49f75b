"""Sounds as libraries want them: one channel of floats at a rate of their own, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def resampled(sound: np.ndarray, rate: int, target: int) -> np.ndarray:
    """A sound (T,) at another rate, as librosa does it unless told otherwise."""
    if rate == target:
        return sound
    import librosa

    made: np.ndarray = librosa.resample(sound, orig_sr=rate, target_sr=target)
    return made


def marked(sounds: np.ndarray, mark: Callable[[np.ndarray], Any]) -> np.ndarray:
    """(N, C, T) int16 sounds with every channel marked; what is cut off at its end stays as it was.

    Args:
        sounds: (N, C, T) int16.
        mark: (T,) float32 in [-1, 1) -> (about T,) float.
    """
    found = sounds.copy()
    for place in found.reshape(-1, sounds.shape[-1]):
        made = np.asarray(mark(place.astype(np.float32) / 2**15))[: len(place)]
        place[: len(made)] = np.rint(made * 2**15).clip(-(2**15), 2**15 - 1)
    return found


def numbers(sounds: np.ndarray, columns: int, read: Callable[[np.ndarray], Any]) -> np.ndarray:
    """(N, columns) float32, means over the channels of sounds; 0 where the library gives no number.

    Args:
        sounds: (N, C, T) int16.
        columns: numbers of each.
        read: (T,) float32 in [-1, 1) -> (columns,) float.
    """
    found = np.empty((len(sounds), columns), np.float32)
    for place, sound in zip(found, sounds, strict=True):
        place[...] = np.mean([read(one.astype(np.float32) / 2**15) for one in sound], axis=0)
    return np.nan_to_num(found)

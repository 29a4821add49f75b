"""Noises and impulse responses, drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Sounds = NDArray[np.float64]
Drawn = Callable[[np.random.Generator, tuple[int, ...], int], Sounds]

_KNEE_HZ = 100
_MAINS_HZ = 50
_HARMONICS = 8
_HUM = 0.5  # amplitude over that of the rumble
_SWELLS_HZ = 4  # how often in a second its level goes another way


def white(rng: np.random.Generator, shape: tuple[int, ...], rate: int) -> Sounds:
    """Independent standard normal numbers."""
    del rate
    return rng.standard_normal(shape)


def pink(rng: np.random.Generator, shape: tuple[int, ...], rate: int) -> Sounds:
    """Normal noise whose power falls as 1/f; that at 0 Hz is as at the lowest other frequency."""
    bins = np.maximum(fft.rfftfreq(shape[-1], 1 / rate), rate / shape[-1])
    return _shaped(rng.standard_normal(shape), 1 / np.sqrt(bins))


def recorded(rng: np.random.Generator, shape: tuple[int, ...], rate: int) -> Sounds:
    """Rumble that comes and goes, and mains hum.

    The rumble is normal noise, flat up to 100 Hz and falling as 1/f² in power above; its level
    goes in straight lines between normal numbers of 3 dB, four a second. The hum has 50 Hz and its
    harmonics up to 400 with amplitudes as 1/k and uniform phases, half of the rumble in all.
    """
    length = shape[-1]
    bins = fft.rfftfreq(length, 1 / rate)
    rumble = _shaped(rng.standard_normal(shape), 1 / np.maximum(bins, _KNEE_HZ))
    seconds = np.arange(length) / rate
    knots = np.arange(int(seconds[-1] * _SWELLS_HZ) + 2)
    swell = np.interp(seconds * _SWELLS_HZ, knots, 3 * rng.standard_normal(len(knots)))
    rumble *= 10 ** (swell / 20) / max(float(np.std(rumble)), 1e-12)
    order = np.arange(1, _HARMONICS + 1)
    turns = _MAINS_HZ * order[:, None] * seconds + rng.random((_HARMONICS, 1))
    hum = (np.sin(2 * np.pi * turns) / order[:, None]).sum(axis=0)
    noise: Sounds = rumble + _HUM * np.sqrt(2 / np.sum(1 / order**2)) * hum
    return noise


NOISES: Mapping[str, Drawn] = {"white": white, "pink": pink, "recorded": recorded}


def room(rng: np.random.Generator, seconds: float, energy: float, rate: int, most: int) -> Sounds:
    """(L,) response of a room, at most `most` samples: the direct sound, then a decaying noise.

    Polack's model: normal noise × 10^(-3 t / RT60), which has lost 60 dB after RT60 seconds.

    Args:
        rng: draws the noise, from its start on whatever the decay.
        seconds: RT60, above 0.
        energy: of the reverberation over that of the direct sound, expected.
        rate: samples a second.
        most: samples.
    """
    noise = rng.standard_normal(most)
    decay = 10.0 ** (-3 * np.arange(1, most) / (rate * seconds))
    whole = 10 ** (-6 / (rate * seconds))  # Σ decay² over all samples is whole / (1 - whole)
    response = np.empty(most)
    response[0] = 1
    response[1:] = noise[1:] * decay * np.sqrt(energy * (1 - whole) / whole)
    return response


def _shaped(noise: Sounds, gains: Sounds) -> Sounds:
    # Noise times the gains of the frequencies of rfft.
    shaped: Sounds = fft.irfft(fft.rfft(noise) * gains, noise.shape[-1])
    return shaped

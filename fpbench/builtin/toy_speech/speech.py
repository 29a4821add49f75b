"""Spoken digits synthesised from an index, in numpy alone.

Clip i is a function of i, the rate and the length. A source of harmonics, shaped by the resonances
of a vocal tract that moves from phoneme to phoneme (a cascade of formants, after Klatt 1980), and
bands of noise for what is not voiced. A counter-based hash turns (index, parameter number) into
uniforms, and what becomes samples uses only + - * /, square root, comparison and rounding, which
IEEE 754 defines, so the bytes do not depend on the machine or the batch.

Letters: N clips, S segments of a word, F frames, T samples. A parameter is (N, 1), a track (N, F).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["VOICES", "WORDS", "Cast", "cast", "speak"]

Floats = NDArray[Any]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""What is said; a word's place is its class."""

# Samples from one frame of the tracks to the next, at every rate.
_HOP = 64
_CLIPS_PER_CHUNK = 32
_PARAMETERS = 24
# Beyond it speech is noise; harmonics end there.
_HIGHEST = 5000.0

# Of a segment: share of the word, formants 1 to 3 in hertz, level of the voice, level of the noise,
# middle of the noise in hertz. Formants of vowels: Peterson and Barney 1952, men.
_PHONEMES: dict[str, tuple[float, ...]] = {
    "z": (0.8, 270, 1700, 2500, 0.25, 0.22, 3500),
    "i": (1.0, 290, 2270, 3000, 0.9, 0.0, 3000),
    "r": (0.7, 330, 1250, 1650, 0.6, 0.0, 3000),
    "o": (1.3, 520, 880, 2400, 1.0, 0.0, 3000),
    "w": (0.8, 300, 650, 2200, 0.6, 0.0, 3000),
    "v": (1.4, 640, 1190, 2390, 1.0, 0.0, 3000),
    "n": (1.0, 260, 1450, 2450, 0.45, 0.0, 3000),
    "t": (0.4, 350, 1800, 2700, 0.0, 0.3, 3200),
    "u": (1.6, 310, 900, 2240, 0.9, 0.0, 3000),
    "th": (0.8, 320, 1400, 2550, 0.0, 0.1, 2900),
    "f": (0.9, 300, 1100, 2300, 0.0, 0.12, 2500),
    "c": (1.5, 570, 840, 2410, 1.0, 0.0, 3000),
    "a": (1.3, 750, 1150, 2440, 1.0, 0.0, 3000),
    "I": (0.8, 390, 1990, 2550, 0.9, 0.0, 3000),
    "b": (0.6, 280, 1050, 2300, 0.3, 0.06, 2500),
    "s": (1.1, 320, 1600, 2550, 0.0, 0.35, 3500),
    "k": (0.5, 320, 1900, 2500, 0.0, 0.04, 2000),
    "e": (1.0, 530, 1840, 2480, 1.0, 0.0, 3000),
    "@": (0.7, 500, 1400, 2450, 0.8, 0.0, 3000),
    "-": (0.5, 350, 1700, 2600, 0.0, 0.0, 3000),
}
_SPELT = (
    "z i r o", "w v n", "t u", "th r i", "f c r", "f a I b", "s I k s", "s e b @ n", "e I - t",
    "n a I n",
)  # fmt: skip
_SEGMENTS = max(len(word.split()) for word in _SPELT)


def _table() -> Floats:
    """(words, S, 7) segments; shorter words end in segments of no length."""
    table = np.zeros((len(WORDS), _SEGMENTS, 7), np.float32)
    for word, spelt in enumerate(_SPELT):
        rows = [_PHONEMES[name] for name in spelt.split()]
        rows += [(0.0, *rows[-1][1:])] * (_SEGMENTS - len(rows))
        table[word] = rows
    table[:, :, 0] /= table[:, :, 0].sum(axis=1, keepdims=True)
    return table


_WORD_SEGMENTS = _table()

# Mean pitch in hertz, length of formants against a man's, tilt of the source, breath.
_VOICE_TRAITS = np.array(
    [
        (98, 0.94, 1.30, 0.010),
        (122, 1.00, 1.00, 0.006),
        (146, 1.05, 0.80, 0.012),
        (182, 1.10, 1.10, 0.016),
        (212, 1.16, 0.90, 0.008),
        (246, 1.22, 1.20, 0.014),
    ],
    np.float32,
)
VOICES = len(_VOICE_TRAITS)
"""How many speak."""


@dataclass(frozen=True)
class Cast:
    """What clips say and who says it.

    Attributes:
        words: (N,) int64, places in `WORDS`.
        voices: (N,) int64, below `VOICES`.
        pitches: (N,) float32, mean pitch in hertz.
    """

    words: NDArray[np.int64]
    voices: NDArray[np.int64]
    pitches: Floats


def cast(indices: NDArray[np.int64]) -> Cast:
    """What the clips at `indices` say, and who says it.

    Args:
        indices: (N,) int64, each >= 0.
    """
    utterance = _Utterance(indices)
    return Cast(utterance.words, utterance.voices, utterance.pitch[:, 0])


def speak(indices: NDArray[np.int64], rate: int, length: int) -> NDArray[np.int16]:
    """Returns the clips as (N, 1, T) int16.

    Args:
        indices: (N,) int64, each >= 0. An index is the same person and word at every rate.
        rate: samples in a second, >= 1000.
        length: T, samples, >= 1; a word takes up to 0.55 s of it.

    Raises:
        ValueError: If an index is negative, or rate or length too small.
    """
    if indices.size and indices.min() < 0:
        raise ValueError(f"toy-speech: expected indices >= 0, got {indices.min()}")
    if rate < 1000 or length < 1:
        raise ValueError(
            f"toy-speech: expected a rate >= 1000 Hz and a length >= 1 sample, got {rate}, {length}"
        )
    clips = np.empty((len(indices), 1, length), np.int16)
    for start in range(0, len(indices), _CLIPS_PER_CHUNK):
        utterance = _Utterance(indices[start : start + _CLIPS_PER_CHUNK])
        tracks = _Tracks(utterance, rate, length)
        sound = _voice(tracks, rate)
        sound += _noise(tracks, utterance, rate)
        sound = sound[:, :length]
        peak = np.abs(sound).max(axis=1, keepdims=True)
        levels = sound * (utterance.level / np.maximum(peak, np.float32(1e-6)))
        clips[start : start + _CLIPS_PER_CHUNK, 0] = np.rint(levels * np.float32(32767))
    return clips


class _Utterance:
    """What is rolled for each clip, one after the other."""

    def __init__(self, indices: NDArray[np.int64]) -> None:
        self.streams = _splitmix64(indices.astype(np.uint64) ^ np.uint64(0x70795F7370656563))
        numbers = np.arange(1, _PARAMETERS + 1, dtype=np.uint64)[:, None]
        bits = _splitmix64(self.streams + numbers * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
        self._rolls: Iterator[Floats] = iter(bits.astype(np.float32)[:, :, None] / 2**24)
        self.words = (self._roll(0, len(WORDS))[:, 0]).astype(np.int64)
        self.voices = (self._roll(0, VOICES)[:, 0]).astype(np.int64)
        pitch, size, tilt, breath = _VOICE_TRAITS[self.voices].T[:, :, None]
        self.pitch = pitch * self._roll(0.9, 1.1)
        self.size = size * self._roll(0.97, 1.03)
        self.tilt, self.breath = tilt * self._roll(0.9, 1.1), breath
        self.fall, self.bend = self._roll(-0.05, 0.3), self._roll(-0.15, 0.15)
        self.bend_at = self._roll(0.2, 0.8)
        self.span, self.start = self._roll(0.72, 0.92), self._roll(0.0, 1.0)
        self.level = self._roll(0.35, 0.95)
        # How long each segment is against its share, and how high its formants.
        self.stretch = np.concatenate([self._roll(0.8, 1.25) for _ in range(_SEGMENTS)], axis=1)
        self.formants = np.concatenate([self._roll(0.95, 1.05) for _ in range(3)], axis=1)

    def _roll(self, low: float, high: float) -> Floats:
        """(N, 1) uniforms between two numbers."""
        return next(self._rolls) * np.float32(high - low) + np.float32(low)


class _Tracks:
    """Pitch, formants and levels of each frame, one more than fit, so that the last has an end."""

    def __init__(self, said: _Utterance, rate: int, length: int) -> None:
        self.frames = -(-length // _HOP)
        seconds = np.float32(length / rate)
        takes = said.span * min(seconds, np.float32(0.6))
        begins = said.start * (seconds - takes)
        time = np.arange(self.frames + 1, dtype=np.float32) * np.float32(_HOP / rate)
        # 0 where the word begins, 1 where it ends.
        self.place = (time - begins) / takes
        segments = _WORD_SEGMENTS[said.words]
        shares = segments[:, :, 0] * said.stretch
        ends = np.cumsum(shares, axis=1)
        ends = ends / ends[:, -1:]
        target = segments[:, :, 1:]
        track = np.repeat(target[:, :1].transpose(2, 0, 1), self.frames + 1, axis=2)
        for segment in range(_SEGMENTS - 1):
            # From one target to the next within a tenth of the word.
            share = (self.place - ends[:, segment, None]) * np.float32(10) + np.float32(0.5)
            step = (target[:, segment + 1] - target[:, segment]).T[:, :, None]
            track += step * _smooth(share)
        scale = said.formants.T[:, :, None] * said.size
        self.formants = track[:3] * scale
        self.noise_at = np.minimum(track[5] * said.size, np.float32(0.42 * rate))
        edge = _smooth(self.place * 16 + 0.5) * _smooth((1 - self.place) * 10)
        self.voiced, self.hiss = track[3] * edge, track[4] * edge
        where = np.clip(self.place, 0, 1)
        bend = where - said.bend_at
        course = 1 - said.fall * (where - np.float32(0.5)) + said.bend * (1 - 4 * bend * bend)
        self.pitch = said.pitch * np.maximum(course, np.float32(0.6))
        self.tilt, self.breath = said.tilt, said.breath


def _voice(tracks: _Tracks, rate: int) -> Floats:
    """(N, T') float32: harmonics of the pitch, each as loud as the formants make it."""
    top = min(_HIGHEST, 0.47 * rate)
    pitch = _samples(tracks.pitch)
    # In turns; a cumulative sum in double precision is the same on every machine.
    turns = np.cumsum(pitch.astype(np.float64) / rate, axis=1)
    turns -= np.floor(turns)
    sine, cosine = _sine(turns), _sine(turns + 0.25)
    twice = 2 * cosine
    last, now = np.zeros_like(sine), sine
    sound = np.zeros_like(sine)
    for harmonic in range(1, int(top / tracks.pitch.min()) + 1):
        frequency = tracks.pitch * np.float32(harmonic)
        loud = _resonance(frequency, tracks.formants)
        # The source falls by 12 dB an octave, the lips give 6 back.
        loud *= tracks.voiced / (1 + tracks.tilt * np.float32(harmonic - 1) * np.float32(0.35))
        loud *= np.clip((top - frequency) * np.float32(0.005), 0, 1)
        sound += _samples(loud) * now
        last, now = now, twice * now - last
    return sound


def _resonance(frequency: Floats, formants: Floats) -> Floats:
    """(N, F) gain of three formants in cascade at a frequency, 1 at 0 Hz."""
    gain: Floats = np.ones_like(frequency)
    for formant, width in zip(formants, (80, 110, 160), strict=True):
        ratio = frequency / formant
        square = ratio * ratio
        loss = ratio * (np.float32(width) / formant)
        rest = 1 - square
        gain = gain / np.sqrt(rest * rest + loss * loss)
    return gain


def _noise(tracks: _Tracks, said: _Utterance, rate: int) -> Floats:
    """(N, T') float32: noise in a band around a frequency, and breath under all."""
    count = tracks.frames * _HOP
    numbers = np.arange(_PARAMETERS + 1, _PARAMETERS + 1 + count, dtype=np.uint64)
    bits = _splitmix64(said.streams[:, None] + numbers * np.uint64(0x9E3779B97F4A7C15))
    white = (bits >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - 1
    # Two slow noises on a carrier and its quadrature: a band as wide as they are fast.
    slow = _slow(white[:, : count // 4]), _slow(white[:, count // 4 : count // 2])
    turns = np.cumsum(_samples(tracks.noise_at).astype(np.float64) / rate, axis=1)
    turns -= np.floor(turns)
    band = slow[0] * _sine(turns) + slow[1] * _sine(turns + 0.25)
    under = np.float32(0.003) + tracks.breath * _samples(tracks.voiced)
    sound: Floats = _samples(tracks.hiss) * np.float32(12) * band + under * white
    return sound


def _slow(noise: Floats) -> Floats:
    """(N, T) of (N, T / 4): straight lines between values."""
    following = np.concatenate([noise[:, 1:], noise[:, :1]], axis=1)
    steps = np.arange(4, dtype=np.float32) / np.float32(4)
    lines: Floats = noise[:, :, None] + (following - noise)[:, :, None] * steps
    return lines.reshape(len(noise), -1)


def _samples(track: Floats) -> Floats:
    """(N, T') of (N, F + 1): straight lines between frames."""
    steps = np.arange(_HOP, dtype=np.float32) / np.float32(_HOP)
    lines: Floats = track[:, :-1, None] + (track[:, 1:] - track[:, :-1])[:, :, None] * steps
    return lines.reshape(len(track), -1)


def _smooth(share: Floats) -> Floats:
    """From 0 to 1 without a corner."""
    x: Floats = np.clip(share, 0, 1)
    smooth: Floats = x * x * (3 - 2 * x)
    return smooth


def _sine(turns: Floats) -> Floats:
    """Float32 sine of turns, to 1e-3, of + and * alone: a library's own depends on the machine."""
    # Into [-1/2, 1/2], then a parabola and its correction.
    x = turns - np.rint(turns)
    first: Floats = x * (8 - 16 * np.abs(x))
    sine: Floats = first * (0.775 + 0.225 * np.abs(first))
    return sine.astype(np.float32)


def _splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns the next output of the generator of Steele et al. (OOPSLA 2014) for each state."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))

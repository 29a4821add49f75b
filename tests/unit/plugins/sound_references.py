"""Attacks on sounds written a second time, one sound at a time, with other means.

A reference maps (sound (C, T) in [-1, 1], strength, rate, the sound's generator) to what the attack
has to give, as floats before the last rounding. Nothing here shares code with the plugin.
"""

from functools import cache

import numpy as np
import torch
from scipy import signal

from fpbench.api import NoParams, SampleInfo
from fpbench.builtin.audio.modality import Audio
from fpbench.builtin.toy_speech.speech import speak
from fpbench.registry import load
from fpbench.stages.context import StageContext
from fpbench.store import Store

RATE = 8000
FULL = 2**15
AUDIO = Audio(NoParams())

catalogue = cache(load)
"""Everything installed, found once."""


def component(name, **params):
    """The attack called `name`."""
    cls = catalogue().component("attacks", name)
    return cls(cls.Params(**params))


def context(folder, name, rate=RATE, shape=(1, 4096)):
    """What the harness would hand to the attack called `name`."""
    info = SampleInfo("audio", shape, "int16", {}, rate)
    root = (0, "attack", name)
    return StageContext(torch.device("cpu"), root, Store(folder), modality=AUDIO, info=info)


def sounds(count=6, length=4096):
    """(N, 1, T) int16: drawn speech, and noise as loud as it can be without clipping."""
    rng = np.random.default_rng(length)
    speech = speak(np.arange(count), RATE, 4096)[..., :length]
    noise = rng.uniform(-1, 1, (2, 1, length)) * (FULL - 1)
    return torch.from_numpy(np.concatenate([speech, noise.astype(np.int16)]))


def floats(batch):
    """As an array in [-1, 1)."""
    return batch.numpy() / FULL


def low_pass(x, cutoff, rate, _):
    """SciPy's window design of the same length, convolved directly."""
    reach = int(np.ceil(16 * rate / (2 * cutoff)))
    taps = signal.firwin(2 * reach + 1, cutoff, window="blackman", fs=rate)
    return np.stack([np.convolve(c, taps)[reach : reach + len(c)] for c in x])


def high_pass(x, cutoff, rate, _):
    """What is left."""
    return x - low_pass(x, cutoff, rate, _) if cutoff else x


def band_pass(x, octaves, rate, _):
    """About 1 kHz."""
    low, high = 1000 * 2 ** (-octaves / 2), 1000 * 2 ** (octaves / 2)
    return high_pass(low_pass(x, high, rate, _), low, rate, _)


def mean_filter(x, width, *_):
    """A convolution with a box."""
    return np.stack([np.convolve(c, np.full(int(width), 1 / width), "same") for c in x])


def bit_depth(x, bits, *_):
    """In whole numbers, ties to even."""
    step = 2 ** (16 - int(bits))
    levels = [round(float(v) * FULL / step) for v in x.ravel()]  # exact: powers of two
    top = FULL // step
    return np.reshape([min(max(v, -top), top - 1) * step / FULL for v in levels], x.shape)


def mu_law(x, *_):
    """From G.711's tables: the lower edges of 128 levels for each sign, in units of 14 bits."""
    segment, step = np.divmod(np.arange(128), 16)
    edges = 4 * (((2 * step + 32) << segment) - 33).clip(0)
    told = 4 * (((2 * step + 33) << segment) - 33)
    samples = np.rint(x * FULL).astype(int)
    level = np.searchsorted(edges, np.minimum(np.abs(samples), 32635), side="right") - 1
    return np.sign(samples) * told[level] / FULL


def gain(x, decibels, *_):
    """A factor."""
    return x * np.power(10.0, decibels / 20)


def polarity(x, *_):
    """Negative."""
    return np.negative(x)


def phase_shift(x, degrees, *_):
    """The real part of the turned analytic signal, silence behind."""
    padded = np.concatenate([x, np.zeros_like(x)], axis=1)
    analytic = signal.hilbert(padded, axis=1)
    return (analytic * np.exp(1j * np.radians(degrees))).real[:, : x.shape[1]]


def dynamic_compression(x, ratio, rate, _):
    """Sample by sample, in the words of the static curve."""
    half = round(0.02 * rate / 2)
    padded = np.pad((x**2).mean(0), half)
    power = [padded[t : t + 2 * half + 1].mean() for t in range(x.shape[1])]
    level = 10 * np.log10(np.maximum(power, 1e-20))
    threshold = level.max() - 24
    above = np.maximum(level, threshold) - threshold
    # Of 24 dB above the threshold the ratio makes 24 / ratio; raised, the loudest is as it was.
    change = above / ratio - above + (24 - 24 / ratio)
    return x * 10 ** (change / 20)


def echo(x, level, rate, _):
    """A convolution with two taps."""
    taps = np.zeros(rate // 10 + 1)
    taps[[0, -1]] = 1, level
    return np.stack([np.convolve(c, taps)[: len(c)] for c in x])


def reverb(x, rt60, rate, rng):
    """An impulse and noise that falls by 60 dB in RT60, twice RT60 its energy."""
    noise = rng.standard_normal(x.shape[1])
    if not rt60:
        return x
    decay = 1e-3 ** (np.arange(100 * rate) / (rate * rt60))
    decay[0] = 0
    taps = np.sqrt(2 * rt60 / np.sum(decay**2)) * decay[: len(noise)] * noise
    taps[0] = 1
    return np.stack([signal.lfilter(taps, 1, c) for c in x])


def time_shift(x, ms, rate, rng):
    """Rolled, and what came round silenced."""
    samples = round(ms * rate / 1000)
    if samples >= x.shape[1]:
        return np.zeros_like(x)
    late = rng.random() < 0.5
    moved = np.roll(x, samples if late else -samples, axis=1)
    if samples:
        moved[:, slice(None, samples) if late else slice(-samples, None)] = 0
    return moved


def time_crop(x, kept, _, rng):
    """One sample after the other."""
    length = x.shape[1]
    count = max(1, round(kept * length))
    first = int(rng.random() * (length - count + 1))
    return np.array([[c[first + t] if t < count else 0 for t in range(length)] for c in x])


def time_mask(x, share, _, rng):
    """Times a gate."""
    length = x.shape[1]
    count = round(share * length)
    first = int(rng.random() * (length - count + 1))
    place = np.arange(length)
    return x * ((place < first) | (place >= first + count))


def _stft(x, rate):
    size = 512
    assert rate == RATE
    _, _, frames = signal.stft(x, rate, "hann", size, size * 3 // 4)
    return frames, lambda y: signal.istft(y, rate, "hann", size, size * 3 // 4)[1][:, : x.shape[1]]


def frequency_mask(x, share, rate, rng):
    """SciPy's transform, bins of a band to 0."""
    frames, back = _stft(x, rate)
    low = rng.random() * (1 - share) * rate / 2
    hertz = np.arange(257) * rate / 512
    inside = (hertz >= low) & (hertz < low + share * rate / 2)
    frames[:, inside | (share == 1)] = 0
    return back(frames)


def denoise(x, reduction, rate, _):
    """SciPy's transform, the gate bin by bin."""
    frames, back = _stft(x, rate)
    size = np.abs(frames)
    loud = size > np.median(size, axis=2, keepdims=True) * 10 ** (3 / 20)
    padded = np.pad(loud.astype(float), ((0, 0), (1, 1), (1, 1)), mode="edge")
    near = sum(
        padded[:, i : i + loud.shape[1], j : j + loud.shape[2]] for i in range(3) for j in range(3)
    )
    floor = 10 ** (-reduction / 20)
    return back(frames * (floor + (1 - floor) * near / 9))


REFERENCES = {
    "low-pass": low_pass,
    "high-pass": high_pass,
    "band-pass": band_pass,
    "mean-filter": mean_filter,
    "denoise": denoise,
    "mu-law": mu_law,
    "bit-depth": bit_depth,
    "gain": gain,
    "polarity": polarity,
    "phase-shift": phase_shift,
    "dynamic-compression": dynamic_compression,
    "echo": echo,
    "reverb": reverb,
    "time-shift": time_shift,
    "time-crop": time_crop,
    "time-mask": time_mask,
    "frequency-mask": frequency_mask,
}

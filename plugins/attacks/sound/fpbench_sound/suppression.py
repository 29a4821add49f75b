"""RNNoise through the package pyrnnoise, which brings library and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpbench.api import MissingResource
from fpbench_sound.sampling import at_speed, fitted

Sounds = NDArray[np.float64]

_RATE = 48_000
_DELAY = 960  # two frames: the network looks one ahead, and frames overlap


def suppressed(sounds: Sounds, who: str, rate: int) -> Sounds:
    """Sounds (N, C, T) in [-1, 1] without what RNNoise takes for noise.

    Args:
        sounds: each channel is heard by itself, by a network that has heard nothing before.
        who: asks, for the message.
        rate: samples a second.

    Raises:
        MissingResource: pyrnnoise is not there.
    """
    network, length = _network(who), sounds.shape[-1]
    inner = -(-length * _RATE // rate)
    heard = sounds if rate == _RATE else at_speed(sounds, rate / _RATE, inner)
    flat = heard.reshape(-1, heard.shape[-1])
    quiet = np.stack([_through(network, channel) for channel in flat])
    out = quiet if rate == _RATE else at_speed(quiet, _RATE / rate, length)
    return fitted(out, length).reshape(sounds.shape)


def _through(network: Any, sound: Sounds) -> Sounds:
    """One channel (T,) at 48 kHz, its first sample where it was."""
    frame, length = network.FRAME_SIZE, len(sound)
    padded = fitted(sound, -(-(length + _DELAY) // frame) * frame)
    whole = np.rint(np.clip(padded, -1, 1 - 2**-15) * 2**15).astype(np.int16)
    state = network.create()
    try:
        parts = [network.process_mono_frame(state, each)[0] for each in whole.reshape(-1, frame)]
    finally:
        network.destroy(state)
    return np.concatenate(parts)[_DELAY : _DELAY + length] / 2**15


def _network(who: str) -> Any:
    try:
        from pyrnnoise import rnnoise
    except (ImportError, OSError) as error:  # the latter where the library is of another system
        raise MissingResource(
            f"{who}: expected the package pyrnnoise, which cannot be imported here ({error}); run "
            "in fpbench's folder: uv sync --extra denoise (or pip install 'fpbench[denoise]')"
        ) from error
    return rnnoise

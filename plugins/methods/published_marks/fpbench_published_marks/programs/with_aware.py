"""The library `aware`: each sound is optimised against its detector, one channel after the other.

It works at 16 kHz. Where it finds no voice it refuses, and the sound stays unmarked. What it reads
lies between -1 and 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sounding
import torch
from aware.service import embed_watermark
from aware.utils.models import load

_RATE = 16_000


def opened(variant: str, weights: str) -> tuple[Any, Any]:
    """How to mark (N, C, T) int16 sounds with a code (K,) at a rate, and to read K logits."""
    del variant, weights  # its detector is drawn with a seed of its own
    torch.set_num_threads(1)  # the same numbers on every machine of a kind
    embedder, detector = load(name="AWARE")

    def mark(sounds: np.ndarray, code: np.ndarray, rate: int) -> Any:
        def marked(one: np.ndarray) -> Any:
            given = sounding.resampled(one, rate, _RATE)
            try:
                made = embed_watermark(given, _RATE, code.astype(np.int32), embedder)
            except ValueError as error:
                if "contain any speach" not in str(error):  # as the library spells it
                    raise
                return one
            return sounding.resampled(made, _RATE, rate)

        return sounding.marked(sounds, marked)

    def read(sounds: np.ndarray, bits: int, rate: int) -> Any:
        def values(one: np.ndarray) -> Any:
            return detector.detect(sounding.resampled(one, rate, _RATE), _RATE)

        return sounding.numbers(sounds, bits, values)

    return mark, read

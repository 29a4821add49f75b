"""The library `wavmark`, its published model, one channel after the other.

It works at 16 kHz. Weights are read from a folder that is given, and never fetched. Bits are read
without a degree: +1 and -1, and 0 where the library finds no mark.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import sounding
import torch
import wavmark

_RATE = 16_000


def opened(variant: str, weights: str) -> tuple[Any, Any]:
    """How to mark (N, C, T) int16 sounds with a code (K,) at a rate, and to read K logits."""
    del variant
    torch.set_num_threads(1)  # the same numbers on every machine of a kind
    (file,) = Path(weights).glob("step59000_*.model.pkl")
    model = wavmark.load_model(str(file))  # this torch reads tensors alone

    def mark(sounds: np.ndarray, code: np.ndarray, rate: int) -> Any:
        def marked(one: np.ndarray) -> Any:
            given = sounding.resampled(one, rate, _RATE)
            made, _ = wavmark.encode_watermark(model, given, code.astype(int))
            return sounding.resampled(made, _RATE, rate)

        return sounding.marked(sounds, marked)

    def read(sounds: np.ndarray, bits: int, rate: int) -> Any:
        def values(one: np.ndarray) -> Any:
            found, _ = wavmark.decode_watermark(model, sounding.resampled(one, rate, _RATE))
            return np.zeros(bits) if found is None else np.where(found, 1.0, -1.0)

        return sounding.numbers(sounds, bits, values)

    return mark, read

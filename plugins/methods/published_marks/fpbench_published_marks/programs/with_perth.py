"""The library `resemble-perth`: its implicit mark, one channel after the other.

It gives a degree from 0 to 1; half of it, from which on the library says that a mark is there, is
taken away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sounding
import torch
from perth import PerthImplicitWatermarker


def opened(variant: str, weights: str) -> tuple[Any, Any]:
    """How to mark (N, C, T) int16 sounds at a rate, and to read one number of each."""
    del variant, weights  # its weights come with the library
    torch.set_num_threads(1)  # the same numbers on every machine of a kind
    library = PerthImplicitWatermarker()

    def mark(sounds: np.ndarray, code: np.ndarray, rate: int) -> Any:
        del code
        return sounding.marked(sounds, lambda one: library.apply_watermark(one, sample_rate=rate))

    def read(sounds: np.ndarray, columns: int, rate: int) -> Any:
        def degree(one: np.ndarray) -> Any:
            return library.get_watermark(one, sample_rate=rate, round=False) - 0.5

        return sounding.numbers(sounds, columns, degree)

    return mark, read

"""The marks of the overlay attack, as coverage of pixels: 0 outside, 1 inside, between at edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpbench_distortion.weights import area

Cover = NDArray[np.float64]

# Letters of five by seven dots, one row of dots per number, the highest bit at the left.
_LETTERS = {
    "S": (0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110),
    "A": (0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001),
    "M": (0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001),
    "P": (0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000),
    "L": (0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111),
    "E": (0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111),
}
_FINE = 8  # samples per pixel and axis: 64 shades are enough for 8 bits after opacity


def logo(height: int, width: int) -> Cover:
    """(height, width) in [0, 1]: a ring that fills the box, with a level bar across it."""
    y, x = (np.abs((np.arange(_FINE * n) + 0.5) / (_FINE * n) - 0.5) for n in (height, width))
    radius = np.hypot(y[:, None], x)
    ring = (radius <= 0.5) & (radius >= 0.36)
    bar = (y[:, None] <= 0.07) & (radius <= 0.5)
    samples = (ring | bar).reshape(height, _FINE, width, _FINE)
    cover: Cover = samples.mean((1, 3))
    return cover


def text(height: int, width: int) -> Cover:
    """(height, width) in [0, 1]: the word SAMPLE, which fills the box."""
    letters = [[_dots(row) for row in _LETTERS[letter]] for letter in "SAMPLE"]
    dots = np.concatenate([np.pad(letter, ((0, 0), (0, 1))) for letter in letters], 1)[:, :-1]
    cover: Cover = area(height, dots.shape[0]) @ dots @ area(width, dots.shape[1]).T
    return cover


def _dots(row: int) -> list[int]:
    return [row >> place & 1 for place in range(4, -1, -1)]

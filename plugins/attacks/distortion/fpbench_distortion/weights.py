"""Weights of filters and of resizing along one axis, in float64; normal numbers by table."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]


def gaussian(sigma: float) -> Weights:
    """(2r + 1,) samples of a Gaussian of σ pixels, cut at r = int(4σ + 0.5), summing to 1."""
    radius = int(4 * sigma + 0.5)
    distance = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (distance / sigma) ** 2)
    normed: Weights = taps / taps.sum()
    return normed


def mirrored(taps: Weights, full: int) -> Weights:
    """(full, full) matrix that filters by (2r + 1,) `taps`, mirroring without the border pixel."""
    radius = len(taps) // 2
    period = max(1, 2 * (full - 1))
    matrix = np.zeros((full, full))
    for offset, tap in zip(range(-radius, radius + 1), taps, strict=True):
        source = np.abs(np.arange(full) + offset) % period
        np.add.at(matrix, (np.arange(full), np.minimum(source, period - source)), tap)
    return matrix


def area(small: int, full: int) -> Weights:
    """(small, full) matrix of means: row i averages the i-th of `small` equal parts of the axis."""
    edges = np.arange(small + 1) * (full / small)
    pixel = np.arange(full)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    matrix: Weights = np.maximum(overlap, 0) * (small / full)
    return matrix


def bilinear(full: int, small: int) -> Weights:
    """(full, small) matrix that interpolates between pixel centres and goes on beyond the last."""
    centre = np.clip((np.arange(full) + 0.5) * (small / full) - 0.5, 0, small - 1)
    matrix: Weights = np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(small)))
    return matrix


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal numbers: Φ⁻¹((k + ½) / 65536) of 16 random bits k each.

    Several times faster than numpy's, whose precision 8-bit images cannot show. Four numbers come
    from each 64-bit word, the lowest bits first.
    """
    count = math.prod(shape)
    words = rng.bit_generator.random_raw(-(-count // 4)).astype("<u8", copy=False)
    return np.take(_quantiles(), words.view("<u2")[:count].reshape(shape), mode="clip")


@cache
def _quantiles() -> NDArray[np.float32]:
    from scipy.special import ndtri

    quantiles: NDArray[np.float32] = ndtri((np.arange(65536) + 0.5) / 65536).astype(np.float32)
    return quantiles

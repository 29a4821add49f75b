"""Diagnostics of bits that are read from unmarked images.

A uniform code matches any reading by chance alone (`tails`), on average over codes. How far the
rate of a single user lies from that average depends on bits that lean to one side or move together.
Letters: N images, K bits, V of them that change, r the correlation of two bits (phi).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NullBits:
    """What the bits of unmarked images look like; fair and independent ones are the ideal.

    Attributes:
        images: N.
        ones: `(K,)` share of ones of each bit, in [0, 1].
        largest_bias: Largest |share - 1/2|, in [0, 1/2].
        square_correlation: Mean r^2 over pairs of bits that change, in [0, 1]; nan without a pair.
        square_correlation_by_chance: What independent bits have on average, 1 / (N - 1).
        largest_correlation: Largest |r| of a pair, in [0, 1]; nan without a pair.
        constant: Number of bits that never change.
        effective_bits: Independent bits that would scatter as these do, in [0, V].
    """

    images: int
    ones: Floats
    largest_bias: float
    square_correlation: float
    square_correlation_by_chance: float
    largest_correlation: float
    constant: int
    effective_bits: float


def null_bits(bits: npt.ArrayLike) -> NullBits:
    """Bias and dependence of the bits of unmarked images.

    Effective bits are the participation ratio of the eigenvalues l of the correlation matrix
    (Bretherton et al. 1999, Journal of Climate 12). With sum l = V and sum l^2 = V + V (V-1) mean
    r^2 over the pairs it is

        (sum l)^2 / sum l^2 = V / (1 + (V - 1) mean r^2),

    V for uncorrelated bits, 1 where all are equal or opposite. Independent bits have mean r^2 =
    1 / (N - 1), whatever their shares of ones, as every arrangement of a bit's ones over the images
    is equally likely (Pitman 1937); that much is taken from mean r^2, down to 0. Bits that never
    change tell no two images apart and are not counted.

    Args:
        bits: `(N, K)` bool, N >= 2, K >= 1.

    Returns:
        The diagnostics.

    Raises:
        ValueError: If the array is not bool or there are too few images or bits.
    """
    read = _checked("null_bits", bits)
    images = len(read)
    ones = read.mean(axis=0)
    changing = read[:, (ones > 0) & (ones < 1)]
    count = changing.shape[1]
    by_chance = 1 / (images - 1)
    if count < 2:
        square, largest, effective = math.nan, math.nan, float(count)
    else:
        pairs = correlations(changing)[np.triu_indices(count, 1)]
        square, largest = float(np.mean(pairs**2)), float(np.abs(pairs).max())
        effective = count / (1 + (count - 1) * max(square - by_chance, 0.0))
    return NullBits(
        images=images,
        ones=ones,
        largest_bias=float(np.abs(ones - 0.5).max()),
        square_correlation=square,
        square_correlation_by_chance=by_chance,
        largest_correlation=largest,
        constant=read.shape[1] - count,
        effective_bits=effective,
    )


def correlations(bits: npt.ArrayLike) -> Floats:
    """Correlation r of every two bits over the images.

    The phi coefficient (N n_ij - n_i n_j) / sqrt(n_i (N - n_i) n_j (N - n_j)), where n_i images
    have bit i and n_ij have both.

    Args:
        bits: `(N, K)` bool, N >= 2, K >= 1.

    Returns:
        `(K, K)` symmetric, in [-1, 1], ones on the diagonal; nan in the row and column of a bit
        that never changes.

    Raises:
        ValueError: If the array is not bool or there are too few images or bits.
    """
    read = _checked("correlations", bits).astype(np.float64)
    images, ones = len(read), read.sum(axis=0)
    # Counts are whole, so bits that are equal, opposite or constant are so without rounding.
    spread = np.sqrt(ones * (images - ones))
    spread[spread == 0] = np.nan
    found = (images * (read.T @ read) - np.outer(ones, ones)) / np.outer(spread, spread)
    np.fill_diagonal(found, np.where(np.isnan(spread), np.nan, 1.0))
    return np.asarray(np.clip(found, -1, 1))


def _checked(who: str, bits: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    read = np.asarray(bits)
    if read.dtype != np.bool_ or read.ndim != 2 or read.shape[0] < 2 or read.shape[1] < 1:
        msg = f"{who}: expected bool (N, K), N >= 2, K >= 1, got {read.dtype} {read.shape}"
        raise ValueError(msg)
    return read

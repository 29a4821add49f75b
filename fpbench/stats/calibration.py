"""Thresholds of real-valued scores from scores of unmarked images, and decisions of several images.

Letters: n negatives, j how many of them lie on or above the threshold, N images, K bits, C copies,
m images of a group, G groups.
"""

import math

import numpy as np
import numpy.typing as npt

from fpbench.stats.power import negatives_needed

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Lets products that are whole numbers in exact arithmetic be so after rounding (.29 * 100).
_ROUNDING = 1e-12


def calibrated_threshold(negatives: npt.ArrayLike, false_rate: float) -> float | None:
    """Threshold v of "accept a score > v" with P(accept a new negative) <= alpha.

    The j-th largest negative with j = floor(alpha (n + 1)), as in split conformal prediction (Vovk
    et al. 2005; Lei et al. 2018). A new negative that exceeds it is among the j largest of n + 1
    that are exchangeable, which has the probability j / (n + 1), and less if scores tie. This is
    the average over calibration sets: with one set in hand the rate without ties is distributed as
    Beta(j, n + 1 - j).

    Args:
        negatives: `(n,)` scores of unmarked images, n >= 1, infinities allowed.
        false_rate: alpha in (0, 1).

    Returns:
        v in the unit of the scores, or None where n < 3 / alpha (`negatives_needed`), which is "not
        supported": the rate that a threshold realises scatters by 1/sqrt(j) around its mean.

    Raises:
        ValueError: If there are no scores, one is nan, or `false_rate` is out of its range.
    """
    scores = np.asarray(negatives, dtype=np.float64)
    if not 0 < false_rate < 1:
        msg = f"calibrated_threshold: expected 0 < false_rate < 1, got {false_rate}"
        raise ValueError(msg)
    if scores.ndim != 1 or scores.size == 0 or np.isnan(scores).any():
        msg = f"calibrated_threshold: expected scores (n,) without nan, n >= 1, got {scores.shape}"
        raise ValueError(msg)
    rate = false_rate * (1 + _ROUNDING)
    if scores.size < negatives_needed(false_rate):
        return None
    place = max(scores.size - math.floor(rate * (scores.size + 1)), 0)
    return float(np.partition(scores, place)[place])


def pool(logits: npt.ArrayLike, counts: npt.ArrayLike, images: int) -> tuple[Floats, Ints]:
    """Logits of groups of m images from one source, and the number of groups of each copy.

    Of a uniform bit and images that are independent given it, the log odds add up (naive Bayes),
    so the sign of the sum is the decision. Groups are disjoint and consecutive; the up to m - 1
    images of a copy that fill no group are left out.

    Args:
        logits: `(N, K)` finite, images of the copies one behind the other.
        counts: `(C,)` whole numbers >= 0 of images of each copy, N in all.
        images: m >= 1.

    Returns:
        Sums `(G, K)` in the unit of the logits, copy by copy, and `(C,)` groups of each copy.

    Raises:
        ValueError: If the shapes do not fit, a logit is not finite or a number is out of its range.
    """
    values, sizes = np.asarray(logits, dtype=np.float64), np.asarray(counts)
    if images < 1:
        msg = f"pool: expected images >= 1 in a group, got {images}"
        raise ValueError(msg)
    if values.ndim != 2 or not np.all(np.isfinite(values)):
        msg = f"pool: expected finite logits (N, K), got {values.shape}"
        raise ValueError(msg)
    if sizes.ndim != 1 or not np.issubdtype(sizes.dtype, np.integer) or np.any(sizes < 0):
        msg = f"pool: expected whole numbers (C,) of images >= 0, got {sizes.dtype} {sizes.shape}"
        raise ValueError(msg)
    if sizes.sum() != len(values):
        msg = f"pool: expected counts of {len(values)} images in all, got {sizes.sum()}"
        raise ValueError(msg)
    groups = (sizes // images).astype(np.int64)
    place = np.arange(len(values)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    grouped = values[place < np.repeat(groups * images, sizes)]
    return grouped.reshape(-1, images, values.shape[1]).sum(axis=1), groups

"""Thresholds of real-valued scores from scores of unmarked images, and decisions of several images.

Letters: n negatives, j how many of them lie on or above the threshold, N images, K bits, C copies,
m images of a group, G groups, U columns of scores: one a registered user, or the one of a presence.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpbench.stats.power import negatives_needed

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CALIBRATING, TESTING = slice(0, None, 2), slice(1, None, 2)
"""Which negatives of a source set thresholds of scores, and which ones those are tried on."""

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


@dataclass(frozen=True)
class Yardstick:
    """What scores are measured by.

    Attributes:
        mean: `(U,)` of each column over negatives.
        deviation: `(U,)`, above 0.
    """

    mean: Floats
    deviation: Floats

    def standardised(self, scores: npt.ArrayLike) -> Floats:
        """`(N, U)` of scores `(N, U)`, or of presences `(N,)`."""
        return (_columns(scores) - self.mean) / self.deviation


def yardstick(sources: Sequence[npt.ArrayLike]) -> Yardstick:
    """Mean and deviation of each column over calibration negatives.

    The larger one of the sources is taken, so that no source is accused more than is stated.

    Args:
        sources: `(n, U)` scores of each source, or `(n,)` presences; at least one source.
    """
    columns = [_columns(scores) for scores in sources]
    mean = np.max([column.mean(axis=0) for column in columns], axis=0)
    deviation = np.max([column.std(axis=0) for column in columns], axis=0)
    # A column that is the same whatever it is shown has no unit; it then never fires.
    return Yardstick(mean, np.where(deviation > 0, deviation, 1.0))


def score_threshold(
    sources: Sequence[npt.ArrayLike], false_rate: float, images: int = 1, *, claim: bool = False
) -> float | None:
    """Threshold t of "accuse at a standardised score of t or more": the largest of the sources'.

    Args:
        sources: calibration negatives as in `yardstick`.
        false_rate: alpha in (0, 1): that any of the U users is accused, or with `claim` a given
            one.
        images: m whose mean is judged.
        claim: whether one column is looked at instead of the largest.

    Returns:
        t, or None where a source has fewer than 3 / alpha groups of m images, however many claims
        are made of each.
    """
    found = []
    for scores in _judged(sources, images):
        if len(scores) < negatives_needed(false_rate):
            return None
        above = calibrated_threshold(scores.ravel() if claim else scores.max(1), false_rate)
        assert above is not None  # of enough images
        found.append(float(np.nextafter(above, np.inf)))
    return max(found, default=None)


def score_tail(
    sources: Sequence[npt.ArrayLike],
    scores: npt.ArrayLike,
    images: int = 1,
    *,
    claim: bool = False,
) -> Floats:
    """Chance of a standardised score of s or more without a mark, as `score_threshold` counts it.

    (1 + number of negatives that reach s) / (1 + n), a conformal p value (Vovk et al. 2005): it is
    at most alpha where s is at least the threshold of alpha, and never below 1 / (1 + n).

    Args:
        sources: calibration negatives as in `yardstick`.
        scores: s, of any shape.
        images: m whose mean s is.
        claim: whether s is of one given column instead of the largest.

    Returns:
        The largest of the sources', in (0, 1], in the shape of `scores`; 1 where a source has no
        group of m images.
    """
    tails = []
    for found in _judged(sources, images):
        ordered = np.sort(found.ravel() if claim else found.max(1))
        reached = len(ordered) - np.searchsorted(ordered, scores, side="left")
        tails.append((1 + reached) / (1 + len(ordered)))
    return np.asarray(np.max(tails, axis=0), dtype=np.float64)


def _judged(sources: Sequence[npt.ArrayLike], images: int) -> list[Floats]:
    """Standardised scores of each source, of means of groups."""
    own, found = yardstick(sources), []
    for source in sources:
        scores = _columns(source)
        if images > 1:
            scores = pool(scores, np.array([len(scores)]), images)[0] / images
        found.append(own.standardised(scores))
    return found


def _columns(scores: npt.ArrayLike) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    return values.reshape(len(values), -1)


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

"""Tails, thresholds, intervals and distances: the formulas, one function each.

Letters: K bits, N candidates, D distractors, s matching bits, t a threshold, C copies, x_c hits of
m_c images of copy c, n images in all, a = 1 - level.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg
from scipy import stats as law

LEVEL = 0.95
MOST_CORRELATED, ENOUGH = 0.15, 40  # correlation in a copy that is assumed; copies that tell enough
BELIEVED = 10  # copies with the rarer outcome from which on the spread of shares is believed
RATE_RULE = "korn-graubard, bounded"


@dataclass(frozen=True)
class Interval:
    """A value with its limits; None where there is none."""

    value: float
    low: float | None
    high: float | None
    rule: str


# -- tails -------------------------------------------------------------------------------------


def tail(bits: int, s) -> np.ndarray:
    """P(Bin(K, 1/2) >= s)."""
    return law.binom.sf(np.asarray(s) - 1, bits, 0.5)


def any_tail(bits: int, s, candidates: int) -> np.ndarray:
    """1 - (1 - P(Bin(K, 1/2) >= s))^N: any of N uniform codes reaches s."""
    if candidates == 0:
        return np.zeros(np.shape(s))
    with np.errstate(divide="ignore"):
        return -np.expm1(candidates * np.log1p(-tail(bits, s)))


def threshold(bits: int, false_rate: float, candidates: int = 1) -> int | None:
    """Least t that any of N uniform codes reaches with probability at most alpha."""
    fitting = [t for t in range(bits + 1) if any_tail(bits, t, candidates) <= false_rate]
    return min(fitting, default=None)


def supported(bits: int, registered: int, false_rate: float) -> bool:
    """N users take at most an eighth of the codes, and there is a threshold."""
    return 8 * registered <= 2**bits and threshold(bits, false_rate, registered) is not None


def capacity(bits: int, error: float) -> float:
    """K (1 - H2(error)) bits get through a binary symmetric channel (Shannon 1948)."""
    return bits * (1 - float(law.entropy([error, 1 - error], base=2)))


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Mann and Whitney's U over P M, ties half."""
    ranks = law.rankdata(np.r_[np.ravel(positive), np.ravel(negative)])
    p, m = np.size(positive), np.size(negative)
    return float((ranks[:p].sum() - p * (p + 1) / 2) / (p * m))


def average_precision(positive: np.ndarray, negative: np.ndarray) -> float:
    """Mean over positives of the precision at their own score."""
    found = []
    for score in np.ravel(positive):
        hits, false = np.sum(positive >= score), np.sum(negative >= score)
        found.append(hits / (hits + false))
    return float(np.mean(found))


# -- intervals ---------------------------------------------------------------------------------


def student(df: float, level: float = LEVEL) -> float:
    """t with P(|T| <= t) = level."""
    return float(law.t.ppf((1 + level) / 2, df))


def exact_limits(x: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Clopper and Pearson's limits; x and n may be fractions."""
    side = (1 - level) / 2
    low = law.beta.ppf(side, x, n - x + 1) if x > 0 else 0.0
    high = law.beta.isf(side, x + 1, n - x) if x < n else 1.0
    return float(low), float(high)


def upper_bound(x: float, n: float, level: float = LEVEL) -> float:
    """One-sided: at most this with confidence `level`."""
    return exact_limits(x, n, 2 * level - 1)[1]


def telling(hits: np.ndarray, counts: np.ndarray) -> int:
    """g: copies with at least one of the rarer outcome."""
    rarer = counts - hits if hits.sum() >= counts.sum() / 2 else hits
    # Distractors take a little of every hit: what falls short of a whole image is none.
    return int(np.count_nonzero(rarer > 1 - 1e-9))


def assumed_effect(hits: np.ndarray, counts: np.ndarray) -> float:
    """1 + (m-1) rho*, with m = sum m_c^2 / n and rho* = .15 max(0, 1 - g/40)."""
    m = (counts**2).sum() / counts.sum()
    return 1 + (m - 1) * MOST_CORRELATED * max(0.0, 1 - telling(hits, counts) / ENOUGH)


def effective_count(hits: np.ndarray, counts: np.ndarray, level: float = LEVEL) -> float:
    """n*: images that are worth as much as these were they independent."""
    n, copies = float(counts.sum()), len(hits)
    p = hits.sum() / n
    if copies == 1:
        return n / assumed_effect(hits, counts)
    t2 = (student(n - 1, level) / student(copies - 1, level)) ** 2
    capped = n / assumed_effect(hits, counts) * min(1.0, t2)
    variance = copies / (copies - 1) * ((hits - p * counts) ** 2).sum() / n**2
    if min(hits.sum(), (counts - hits).sum()) < 1 or variance <= 0:
        return min(n, capped)
    return min(n, capped, p * (1 - p) / variance * t2)


def rate(hits, counts, level: float = LEVEL) -> Interval:
    """A rate of images in copies: Clopper and Pearson's limits at n*."""
    x, m = np.asarray(hits, dtype=float), np.asarray(counts, dtype=float)
    p = float(x.sum() / m.sum())
    n = effective_count(x, m, level)
    return Interval(p, *exact_limits(p * n, n, level), RATE_RULE)


def bits_mean(right, counts, level: float = LEVEL) -> Interval:
    """A share of bits: t on copy means, whose variance is not believed where few copies tell.

    At least v0 max(0, 1 - g/10), v0 the floor variance, and v0 where all copies are alike.

    Args:
        right: (C,) right bits of each copy.
        counts: (C,) bits read of each.
        level: of the interval.
    """
    x, m = np.asarray(right, dtype=float), np.asarray(counts, dtype=float)
    copies, shares = len(x), x / m
    value = float(shares.mean())
    if copies == 1:
        return Interval(value, None, None, "t-copies")
    alike = np.ptp(shares) == 0
    variance = 0.0 if alike else shares.var(ddof=1) / copies
    part = 1.0 if alike else max(0.0, 1 - telling(x, m) / BELIEVED)
    half = student(copies - 1, level) * math.sqrt(max(variance, part * floor_variance(x, m)))
    return Interval(value, max(value - half, 0.0), min(value + half, 1.0), "t-copies")


def floor_variance(hits: np.ndarray, counts: np.ndarray) -> float:
    """p~ (1 - p~) (1 + (m-1) rho*) / n with p~ = (x+1) / (n+2)."""
    n = counts.sum()
    p = (hits.sum() + 1) / (n + 2)
    return float(p * (1 - p) * assumed_effect(hits, counts) / n)


def plain_mean(copy_values) -> Interval:
    """t on copy means."""
    values = np.asarray(copy_values, dtype=float)
    if len(values) == 1:
        return Interval(float(values[0]), None, None, "t-copies")
    half = student(len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    centre = float(values.mean())
    return Interval(centre, centre - half, centre + half, "t-copies")


def halves(first: Interval, second: Interval) -> Interval:
    """The mean of two independent rates, its limits by MOVER (Zou and Donner 2008)."""
    value = (first.value + second.value) / 2
    below = math.hypot(first.value - first.low, second.value - second.low) / 2
    above = math.hypot(first.high - first.value, second.high - second.value) / 2
    rule = f"MOVER of {first.rule}"
    return Interval(value, max(value - below, 0.0), min(value + above, 1.0), rule)


# -- distances ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian fitted to features.

    Attributes:
        mean: (F,).
        factor: (r, F) with factor' factor = the unbiased covariance.
    """

    mean: np.ndarray
    factor: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> Gaussian:
        """Of (N, F) features; no covariance is formed, so that no digits are lost."""
        values = features.astype(np.float64)
        centred = (values - values.mean(axis=0)) / math.sqrt(len(values) - 1)
        triangle = linalg.qr(centred, mode="r")[0]
        return cls(values.mean(axis=0), triangle[: values.shape[1]])


def frechet(a: Gaussian, b: Gaussian) -> float:
    """|m1 - m2|^2 + tr(S1 + S2) - 2 tr (S1 S2)^(1/2), Dowson and Landau 1982.

    With S = X'X the trace of the root is the sum of the singular values of X Y'.
    """
    shift = a.mean - b.mean
    root = linalg.svdvals(a.factor @ b.factor.T).sum()
    return float(shift @ shift + (a.factor**2).sum() + (b.factor**2).sum() - 2 * root)


def jackknife_half(without: np.ndarray) -> float:
    """Half the width of an interval, from the values with each copy left out in turn."""
    count = len(without)
    variance = (count - 1) / count * ((without - without.mean()) ** 2).sum()
    return student(count - 1) * math.sqrt(variance)


def without_each(parts: list[np.ndarray], of: Callable[[np.ndarray], float]) -> np.ndarray:
    """(C,) the statistic of all parts but one, in turn."""
    return np.array([of(np.concatenate(parts[:i] + parts[i + 1 :])) for i in range(len(parts))])

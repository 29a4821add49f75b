"""Confidence intervals for rates and means of images that come in copies.

Images of one copy are not independent, so copies are the clusters. Letters:
C copies, n images in all, p a rate, a = 1 - level.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RATE_RULE = "korn-graubard, bounded"
"""Name of the rule of `rate`."""
_ASSUMED = 0.15
"""Correlation of images of one copy that is assumed where the data say nothing of it."""
_TELLING = 40
"""Copies with the rarer outcome from which on nothing is assumed."""
_SPREAD_KNOWN = 10
"""Copies with the rarer outcome from which on their spread is believed."""


@dataclass(frozen=True)
class Interval:
    """A value and its confidence interval.

    Attributes:
        value: The estimate.
        low: Lower end, nan where it cannot be known.
        high: Upper end, nan where it cannot be known.
        rule: Name of the rule that made the interval.
        n: Observations behind the value.
        clusters: Independent groups among them.
        level: Confidence level in (0, 1).
    """

    value: float
    low: float
    high: float
    rule: str
    n: int
    clusters: int
    level: float


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Exact two-sided interval of a rate from independent trials (Clopper and Pearson 1934).

    Args:
        successes: x in [0, n].
        trials: n >= 1 independent trials, each its own cluster.
        level: Confidence level in (0, 1).

    Returns:
        Interval with the quantiles Beta(x, n-x+1; a/2) and Beta(x+1, n-x; 1-a/2), rule
        `clopper-pearson`.

    Raises:
        ValueError: If there are no trials or a count is out of its range.
    """
    _check_counts("clopper_pearson", successes, trials)
    _check_level("clopper_pearson", level)
    low, high = _exact_limits(successes, trials, level)
    return Interval(successes / trials, low, high, "clopper-pearson", trials, trials, level)


def upper_bound(successes: int, trials: int, level: float = 0.95) -> float:
    """Exact one-sided upper bound of a rate from independent trials: Beta(x+1, n-x; level).

    Args:
        successes: x in [0, n].
        trials: n >= 1 independent trials.
        level: Confidence level in (0, 1).

    Returns:
        The bound in (0, 1]. With x = 0 it is 1 - (1 - level)^(1/n), about 3/n at 95 %.

    Raises:
        ValueError: If there are no trials or a count is out of its range.
    """
    _check_counts("upper_bound", successes, trials)
    _check_level("upper_bound", level)
    return _beta_high(successes, trials, 1 - level)


def rate(successes: npt.ArrayLike, trials: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Interval of a rate with copies as clusters, also where the data say little of clustering.

    The limits are those of Clopper and Pearson at n* trials with p n* successes. Korn and Graubard
    (1998, Survey Methodology 24) take n* from the variance of a ratio, by linearisation:

        v = C/(C-1) * sum_c (x_c - p m_c)^2 / n^2
        deff = v / (p(1-p)/n),  n_KG = n/deff * (t_{n-1}/t_{C-1})^2, t at 1 - a/2

    Near 0 and 1 that variance is known badly: nothing at all with no failure, and little with few.
    So a correlation of images within a copy is assumed that fades out as copies tell more (a
    modelled design effect, as Franco et al. 2019, J. Survey Statistics and Methodology 7, find to
    be needed under clustering):

        g = copies with at least one image of the rarer outcome
        rho = 0.15 max(0, 1 - g/40),  m = sum_c m_c^2 / n
        n_cap = n / (1 + (m-1) rho) * min(1, (t_{n-1}/t_{C-1})^2)
        n* = min(n, n_KG where v > 0, n_cap)

    It covers at least 93 % at a level of 95 % for correlations up to .2 and rates up to 1
    (tests/simulation/coverage.py), and one more failure never raises the lower limit by more than
    .005. Expected successes may be fractions; less than one of the rarer outcome in all is none.

    Args:
        successes: `(C,)` expected successes per copy, fractions allowed, each in [0, trials].
        trials: `(C,)` images per copy, whole numbers >= 1.
        level: Confidence level in (0, 1).

    Returns:
        Interval with the pooled rate, rule `RATE_RULE`, n images and C clusters.

    Raises:
        ValueError: If there are no copies, the shapes differ, or a count is out of its range.
    """
    _check_level("rate", level)
    hits = np.asarray(successes, dtype=np.float64)
    counts = np.asarray(trials, dtype=np.float64)
    if hits.ndim != 1 or hits.shape != counts.shape or hits.size == 0:
        msg = f"rate: expected two equal shapes (C,), C >= 1, got {hits.shape} and {counts.shape}"
        raise ValueError(msg)
    if not (np.all(counts >= 1) and np.all(counts == np.floor(counts))):
        msg = f"rate: expected whole numbers of trials >= 1 in each copy, got {counts.tolist()}"
        raise ValueError(msg)
    if not (np.all(hits >= 0) and np.all(hits <= counts)):
        msg = f"rate: expected successes in [0, trials], got {hits.tolist()} of {counts.tolist()}"
        raise ValueError(msg)
    n = int(counts.sum())
    p = min(float(hits.sum()) / n, 1.0)
    n_effective = _effective_count(hits, counts, p, level)
    low, high = _exact_limits(p * n_effective, n_effective, level)
    return Interval(p, low, high, RATE_RULE, n, hits.size, level)


def mean(
    copy_values: npt.ArrayLike, level: float = 0.95, *, trials: npt.ArrayLike | None = None
) -> Interval:
    """Student t interval of the mean of copy means: m +- t_{C-1} * sqrt(v).

    v is s^2 / C. Where the values are shares of `trials`, copies without a spread, or few copies
    with any of the rarer outcome, are no proof that a rate is known exactly. With g copies that
    have it and the floor variance v0 = p~ (1 - p~) (1 + (m-1) rho) / n, p~ = (x+1)/(n+2), m and
    rho as in `rate`, v is at least v0 max(0, 1 - g/10), and v0 where s is zero.

    Args:
        copy_values: `(C,)` finite, one mean for each copy.
        level: Confidence level in (0, 1).
        trials: `(C,)` yes-or-no outcomes behind each value in [0, 1]; None where the values are no
            shares.

    Returns:
        Interval in the unit of the values, rule `t-copies`, n = clusters = C; within [0, 1] for
        shares. One copy: both ends are nan.

    Raises:
        ValueError: If there are no copies or a value is not finite.
    """
    _check_level("mean", level)
    values = np.asarray(copy_values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.all(np.isfinite(values)):
        msg = (
            f"mean: expected finite values of shape (C,) with C >= 1 copies, got {values.tolist()}"
        )
        raise ValueError(msg)
    centre = float(values.mean())
    copies = values.size
    half = math.nan
    if copies > 1:
        variance = float(values.var(ddof=1)) / copies if np.ptp(values) > 0 else 0.0
        if trials is not None:
            counts = np.broadcast_to(np.asarray(trials, dtype=np.float64), values.shape)
            hits = values * counts
            share = max(0.0, 1 - _telling(hits, counts) / _SPREAD_KNOWN) if variance else 1.0
            variance = max(variance, share * floor_variance(hits, counts))
        half = student_quantile(copies - 1, level) * math.sqrt(variance)
    low, high = centre - half, centre + half
    if trials is not None and copies > 1:
        low, high = max(low, 0.0), min(high, 1.0)
    return Interval(centre, low, high, "t-copies", copies, copies, level)


def floor_variance(hits: Floats, counts: Floats) -> float:
    """Least variance of a rate that so many outcomes in so many copies may claim.

    p~ (1 - p~) (1 + (m-1) rho) / n with p~ = (x+1)/(n+2) and rho as in `rate`.

    Args:
        hits: `(C,)` expected successes.
        counts: `(C,)` outcomes.
    """
    n = float(counts.sum())
    shrunk = (float(hits.sum()) + 1) / (n + 2)
    return shrunk * (1 - shrunk) * _assumed_effect(hits, counts) / n


def mover(parts: Sequence[Interval], correlation: npt.ArrayLike) -> Interval:
    """The mean of F rates with limits from theirs (Zou and Donner 2008, Statistics in Medicine 27).

    With d_f the distance from rate f to its own limit: d = sqrt(sum_fg r_fg d_f d_g) / F.

    Args:
        parts: F >= 1 intervals of rates.
        correlation: `(F, F)` of the rates, in [0, 1].

    Returns:
        Interval within [0, 1], rule `MOVER`; n and clusters are the least of the parts'.

    Raises:
        ValueError: If there is no part or the shapes differ.
    """
    matrix = np.asarray(correlation, dtype=np.float64)
    if not parts or matrix.shape != (len(parts), len(parts)):
        msg = f"mover: expected (F, F) correlations of F >= 1 parts, got {matrix.shape}"
        raise ValueError(msg)
    value = float(np.mean([part.value for part in parts]))
    below = np.array([part.value - part.low for part in parts])
    above = np.array([part.high - part.value for part in parts])
    low, high = (math.sqrt(max(d @ matrix @ d, 0.0)) / len(parts) for d in (below, above))
    return Interval(
        value,
        max(value - low, 0.0),
        min(value + high, 1.0),
        "MOVER",
        min(part.n for part in parts),
        min(part.clusters for part in parts),
        parts[0].level,
    )


def jackknife(
    value: float, without: npt.ArrayLike, level: float = 0.95, *, least: float = -math.inf
) -> Interval:
    """Interval of a value by leaving out one copy at a time: v = (C-1)/C sum_c (w_c - mean w)^2.

    Args:
        value: Of all copies.
        without: `(C,)` the value without each of them.
        level: Confidence level in (0, 1).
        least: The value's lower bound.

    Returns:
        Interval with t at C - 1 degrees of freedom, rule `jackknife over copies`. One copy, or a
        value that is not finite: both ends are nan.
    """
    _check_level("jackknife", level)
    left = np.asarray(without, dtype=np.float64)
    copies, half = left.size, math.nan
    if copies > 1 and np.all(np.isfinite(left)):
        variance = (copies - 1) / copies * float(((left - left.mean()) ** 2).sum())
        half = student_quantile(copies - 1, level) * math.sqrt(variance)
    low = value - half if math.isnan(half) else max(value - half, least)
    return Interval(value, low, value + half, "jackknife over copies", copies, copies, level)


def student_quantile(df: float, level: float) -> float:
    """Half width t with P(|T| <= t) = level for Student's T with `df` > 0 degrees of freedom."""
    from scipy import special

    return float(special.stdtrit(df, (1 + level) / 2))


def student_p(statistic: float, df: float) -> float:
    """Two-sided P(|T| >= |statistic|) for Student's T with `df` > 0 degrees of freedom."""
    from scipy import special

    return float(2 * special.stdtr(df, -abs(statistic)))


def _effective_count(hits: Floats, counts: Floats, p: float, level: float) -> float:
    n, copies = float(counts.sum()), hits.size
    correction = 1.0
    if copies > 1:
        correction = (student_quantile(n - 1, level) / student_quantile(copies - 1, level)) ** 2
    bounded = n / _assumed_effect(hits, counts) * min(1.0, correction)
    residuals = hits - p * counts
    # Relative to n, because fractional successes leave rounding noise where equal copies should
    # leave zero. Less than one image of the rarer outcome tells no more than none.
    alike = copies == 1 or bool(np.all(np.abs(residuals) <= 1e-12 * n))
    if alike or min(hits.sum(), (counts - hits).sum()) < 1:
        return min(n, bounded)
    variance = copies / (copies - 1) * float(residuals @ residuals) / n**2
    design_effect = variance / (p * (1 - p) / n)
    return min(n, n / design_effect * correction, bounded)


def _assumed_effect(hits: Floats, counts: Floats) -> float:
    """Design effect 1 + (m-1) rho of the correlation that is assumed, see `rate`."""
    size = float(counts @ counts) / float(counts.sum())
    return 1 + (size - 1) * _ASSUMED * max(0.0, 1 - _telling(hits, counts) / _TELLING)


def _telling(hits: Floats, counts: Floats) -> int:
    """Copies with at least one of the rarer outcome, g."""
    rarer = counts - hits if 2 * hits.sum() >= counts.sum() else hits
    # A fraction of an image is none: it was not drawn.
    return int((np.floor(rarer + 1e-9) >= 1).sum())


def _exact_limits(successes: float, trials: float, level: float) -> tuple[float, float]:
    """Clopper-Pearson limits; the counts may be real numbers."""
    from scipy import special

    side = (1 - level) / 2
    low = special.betaincinv(successes, trials - successes + 1, side) if successes > 0 else 0.0
    return float(low), _beta_high(successes, trials, side)


def _beta_high(successes: float, trials: float, outside: float) -> float:
    """Upper limit that leaves the probability `outside` above it."""
    from scipy import special

    if successes >= trials:
        return 1.0
    return float(special.betainccinv(successes + 1, trials - successes, outside))


def _check_counts(who: str, successes: int, trials: int) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        msg = (
            f"{who}: expected trials >= 1 and 0 <= successes <= trials, got {successes} of {trials}"
        )
        raise ValueError(msg)


def _check_level(who: str, level: float) -> None:
    if not 0 < level < 1:
        msg = f"{who}: expected 0 < level < 1, got {level}"
        raise ValueError(msg)

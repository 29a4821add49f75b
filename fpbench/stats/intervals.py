"""Confidence intervals for rates and means of images that come in copies.

Images of one copy are not independent, so copies are the clusters. Letters:
C copies, n images in all, p a rate, a = 1 - level.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


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
    """Interval of a rate with copies as clusters (Korn and Graubard 1998, Survey Methodology 24).

    The variance of p = sum x / sum m is that of a ratio, by linearisation. The limits are those of
    Clopper and Pearson at n_eff trials with p * n_eff successes:

        v = C/(C-1) * sum_c (x_c - p m_c)^2 / n^2
        deff = v / (p(1-p)/n)
        n_eff = min(n, n/deff * (t_{n-1}/t_{C-1})^2), t at 1 - a/2, or C where v is zero

    Fractional successes with less than one expected success or failure in all count as zero
    variance too: they tell no more than whole ones that are all alike, yet their tiny variance
    would lift n_eff from C to n. Whole counts are not touched by this.

    Args:
        successes: `(C,)` expected successes per copy, fractions allowed, each in [0, trials].
        trials: `(C,)` images per copy, whole numbers >= 1.
        level: Confidence level in (0, 1).

    Returns:
        Interval with the pooled rate, rule `korn-graubard`, n images and C clusters.

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
    return Interval(p, low, high, "korn-graubard", n, hits.size, level)


def mean(copy_values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Student t interval of the mean of copy means: m +- t_{C-1} * s / sqrt(C).

    Args:
        copy_values: `(C,)` finite, one mean for each copy.
        level: Confidence level in (0, 1).

    Returns:
        Interval in the unit of the values, rule `t-copies`, n = clusters = C. One copy: both ends
        are nan.

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
        half = student_quantile(copies - 1, level) * float(values.std(ddof=1)) / math.sqrt(copies)
    return Interval(centre, centre - half, centre + half, "t-copies", copies, copies, level)


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
    residuals = hits - p * counts
    # Relative to n, because fractional successes leave rounding noise where equal copies should
    # leave zero.
    alike = copies == 1 or bool(np.all(np.abs(residuals) <= 1e-12 * n))
    if alike or hits.sum() < 1 or (counts - hits).sum() < 1:
        return float(copies)
    variance = copies / (copies - 1) * float(residuals @ residuals) / n**2
    design_effect = variance / (p * (1 - p) / n)
    correction = (student_quantile(n - 1, level) / student_quantile(copies - 1, level)) ** 2
    return min(n, n / design_effect * correction)


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

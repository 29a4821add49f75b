"""Paired comparisons of methods and the ranks that follow from them.

The score of a method is the mean over F attack families, equally weighted, of its mean over the
copies of that family. Letters: F families, n_f copies in family f.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from fpbench.stats.intervals import student_p, student_quantile

Floats = npt.NDArray[np.float64]

# Differences below this share of the values are rounding; no test may find them significant.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Paired:
    """Mean difference a - b over shared copies.

    Attributes:
        difference: In the unit of the values.
        standard_error: Of the difference; nan with one copy.
        df: Degrees of freedom, copies - 1.
        p: Two-sided, in [0, 1].
    """

    difference: float
    standard_error: float
    df: float
    p: float


@dataclass(frozen=True)
class Comparison:
    """Difference of two scores, a - b.

    Attributes:
        difference: In the unit of the scores.
        low: Lower end of the confidence interval, nan where no variance can be estimated.
        high: Upper end, likewise.
        p: Two-sided, in [0, 1].
        df: Degrees of freedom; 0 without an estimate of the variance, inf where it
            is zero.
    """

    difference: float
    low: float
    high: float
    p: float
    df: float


@dataclass(frozen=True)
class Rank:
    """Place of one method.

    Attributes:
        rank: 1 + number of methods that are significantly better.
        score: Mean over families of the mean over copies.
        ties: Methods that are not significantly different from this one, best first.
    """

    rank: int
    score: float
    ties: tuple[str, ...]


def holm(p_values: npt.ArrayLike) -> Floats:
    """P values adjusted for the family-wise error by Holm's step-down rule (Holm 1979).

    p_(i) becomes max_{j <= i} min(1, (m - j + 1) p_(j)), with p sorted upwards and m of them.

    Args:
        p_values: `(m,)` in [0, 1], m >= 0.

    Returns:
        Adjusted values `(m,)` in [0, 1], in the order given.

    Raises:
        ValueError: If a value is not in [0, 1].
    """
    raw = np.asarray(p_values, dtype=np.float64)
    if raw.ndim != 1 or not np.all((raw >= 0) & (raw <= 1)):
        msg = f"holm: expected p values of shape (m,) in [0, 1], got {raw.tolist()}"
        raise ValueError(msg)
    order = np.argsort(raw, kind="stable")
    steps = raw[order] * np.arange(raw.size, 0, -1)
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def paired(a: npt.ArrayLike, b: npt.ArrayLike) -> Paired:
    """Paired t test of a - b over copies that both methods share.

    Args:
        a: `(n,)` finite, one value for each copy.
        b: `(n,)` finite, the same copies in the same order.

    Returns:
        The comparison. Zero variance: p is 0 if the difference is not zero, else 1. One copy:
        p is 1.

    Raises:
        ValueError: If there are no copies, the shapes differ, or a value is not finite.
    """
    differences = _differences("paired", a, b)
    copies = differences.size
    difference = float(differences.mean())
    if copies == 1:
        return Paired(difference, math.nan, 0, 1.0)
    error = math.sqrt(_variance(differences) / copies)
    return Paired(difference, error, copies - 1, _p_value(difference, error, copies - 1))


def compare(
    a: Mapping[str, npt.ArrayLike], b: Mapping[str, npt.ArrayLike], level: float = 0.95
) -> Comparison:
    """Paired t test of the difference of two scores.

    Families are measured on the same copies (a family with n_f copies on the first n_f of them),
    and a copy that resists one attack tends to resist the next, so their covariance counts:

        variance = sum_f sum_g cov_fg m_fg / (n_f n_g F^2),  m_fg = min(n_f, n_g)
        1 / df = sum_f w_f / (n_f - 1),  w_f = (var_f / n_f) / sum_g (var_g / n_g)

    cov_fg is the sample covariance over the m_fg shared copies. Where all families have all copies
    this is the paired t test of each copy's mean over families. Taking families as independent
    instead rejects a true null in 16 % of cases at a correlation of .2, in 31 % at .5 (level .05).
    The degrees of freedom are Satterthwaite's for perfectly correlated families, never more.

    A family with one copy has no variance of its own and takes the largest var_f of the others; it
    adds variance but no degrees of freedom. Where no family has two copies, p is 1 and the interval
    is nan.

    Zero variance: p is 0 if the difference is not zero, else 1, and the interval is the difference.

    Args:
        a: For each of F >= 1 families, `(n_f,)` finite values, one for each copy.
        b: The same families and copies of the other method.
        level: Confidence level of the interval in (0, 1).

    Returns:
        The comparison, positive where `a` has the larger score.

    Raises:
        ValueError: If the families or the copies of a family differ, or a value is not finite.
    """
    if not 0 < level < 1:
        msg = f"compare: expected 0 < level < 1, got {level}"
        raise ValueError(msg)
    if not a or a.keys() != b.keys():
        msg = f"compare: expected the same families, at least one, got {sorted(a)} and {sorted(b)}"
        raise ValueError(msg)
    families = [_differences(f"compare, family {name!r}", a[name], b[name]) for name in sorted(a)]
    means = np.array([values.mean() for values in families])
    difference = 0.0 if _negligible(means.mean(), means) else float(means.mean())
    several = [values for values in families if values.size > 1]
    if not several:
        return Comparison(difference, math.nan, math.nan, 1.0, 0)

    single = max(_variance(values) for values in several) * (len(families) - len(several))
    error = math.sqrt(_summed_variance(several) + single) / len(families)
    df, half = math.inf, 0.0
    if error > 0:
        parts = np.array([_variance(values) / values.size for values in several])
        freedom = np.array([values.size - 1 for values in several])
        df = float(parts.sum() / np.sum(parts / freedom))
        half = student_quantile(df, level) * error
    p = _p_value(difference, error, df)
    return Comparison(difference, difference - half, difference + half, p, df)


def ranks(
    scores: Mapping[str, Mapping[str, npt.ArrayLike]], level: float = 0.05
) -> dict[str, Rank]:
    """Ranks of methods with ties: all pairs by `compare`, adjusted by `holm`.

    Being tied is not transitive: the first may tie with the second and the second with the third
    while the first is better than the third.

    Args:
        scores: For each method and family, `(n_f,)` values of the same copies; more is better.
        level: Family-wise significance level in (0, 1), reached where adjusted p <= level.

    Returns:
        Method to rank, best first (by rank, then score, then name).

    Raises:
        ValueError: If the methods do not share families and copies.
    """
    if not 0 < level < 1:
        msg = f"ranks: expected 0 < level < 1, got {level}"
        raise ValueError(msg)
    means = {
        name: float(np.mean([np.asarray(v, np.float64).mean() for v in families.values()]))
        for name, families in scores.items()
    }
    pairs = list(combinations(sorted(scores), 2))
    results = [compare(scores[a], scores[b]) for a, b in pairs]
    adjusted = holm([result.p for result in results])
    better: dict[str, set[str]] = {name: set() for name in scores}
    for (a, b), result, p in zip(pairs, results, adjusted, strict=True):
        if p <= level:
            winner, loser = (a, b) if result.difference > 0 else (b, a)
            better[loser].add(winner)

    def tied(one: str, other: str) -> bool:
        return one != other and one not in better[other] and other not in better[one]

    order = sorted(scores, key=lambda name: (len(better[name]), -means[name], name))
    return {
        name: Rank(1 + len(better[name]), means[name], tuple(o for o in order if tied(name, o)))
        for name in order
    }


def _differences(who: str, a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Copy by copy a - b, `(n,)`, with what is only rounding set to zero."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or first.size == 0:
        msg = f"{who}: expected the same copies (n,), n >= 1, got {first.shape}, {second.shape}"
        raise ValueError(msg)
    if not (np.all(np.isfinite(first)) and np.all(np.isfinite(second))):
        msg = f"{who}: expected finite values, got {first.tolist()} and {second.tolist()}"
        raise ValueError(msg)
    # Equal but for rounding is equal: otherwise a spread of 1e-17 would make a test of its own.
    values = np.concatenate((first, second))
    differences = first - second
    alike = _negligible(differences - differences[0], values)
    differences = np.where(alike, differences[0], differences)
    return np.where(_negligible(differences, values), 0.0, differences)


def _negligible(differences: npt.ArrayLike, values: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray(np.abs(differences) <= _ROUNDING * np.abs(values).max())


def _summed_variance(families: list[Floats]) -> float:
    """Variance of the sum of the families' means over partly shared copies."""
    total = 0.0
    variances = [_variance(values) for values in families]
    for f, first in enumerate(families):
        total += variances[f] / first.size
        for g, second in enumerate(families[f + 1 :], start=f + 1):
            if variances[f] == 0 or variances[g] == 0:
                continue  # the product of rounding errors is no covariance
            shared = min(first.size, second.size)
            one, other = first[:shared], second[:shared]
            covariance = (one - one.mean()) @ (other - other.mean()) / (shared - 1)
            total += 2 * float(covariance) * shared / (first.size * second.size)
    if len({values.size for values in families}) == 1:
        return max(total, 0.0)
    # Covariances from fewer copies than the variances may push the sum too low, even below zero;
    # nothing is claimed from that.
    alone = sum(_variance(values) / values.size for values in families)
    return max(total, alone / len(families))


def _variance(values: Floats) -> float:
    """Sample variance, exactly zero for equal values, whose mean may be off by rounding."""
    return float(values.var(ddof=1)) if np.ptp(values) > 0 else 0.0


def _p_value(difference: float, error: float, df: float) -> float:
    if error == 0:
        return 0.0 if difference != 0 else 1.0
    return student_p(difference / error, df)

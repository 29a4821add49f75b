"""Comparisons of methods over copies and over trainings, and the ranks that follow from them.

The score of a method is the mean over F parts (threat tiers), equally weighted, of its mean over
the copies of that part. Letters: F parts, n_f copies in part f, S trainings of a method.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt

from fpbench.stats.intervals import floor_variance, rate, student_p, student_quantile

Floats = npt.NDArray[np.float64]

# Differences below this share of the values are rounding; no test may find them significant.
_ROUNDING = 1e-12
LEAST_COPIES = 10
"""Copies below which a part's own variance is not believed."""
LEAST_TRAININGS = 3
"""Trainings below which a method has no rank."""


@dataclass(frozen=True)
class Sample:
    """A rate or another value of each copy.

    Attributes:
        values: `(n,)` finite, one for each copy.
        trials: Images behind each value where the values are rates; None where they are not.
    """

    values: Floats
    trials: int | None = None

    @property
    def floor(self) -> float:
        """Least variance of the mean that such copies may claim; 0 where none is known."""
        if self.trials is None:
            return 0.0
        counts = np.full(self.values.size, float(self.trials))
        return floor_variance(np.clip(self.values, 0, 1) * counts, counts)

    @property
    def doubt(self) -> float:
        """Standard error from the interval of the rate, where copies are too few for their own."""
        if self.trials is None:
            return math.nan
        counts = np.full(self.values.size, self.trials)
        found = rate(np.clip(self.values, 0, 1) * counts, counts)
        return (found.high - found.low) / 2 / 1.96


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
        df: Degrees of freedom; 0 without an estimate of the variance.
    """

    difference: float
    low: float
    high: float
    p: float
    df: float


@dataclass(frozen=True)
class Standing:
    """What is known of one method.

    Attributes:
        trainings: The score of each training.
        parts: Its parts, averaged over trainings; the same names and copies for all methods.
        trains: False for a method that trains nothing, whose trainings cannot differ.
    """

    trainings: tuple[float, ...]
    parts: Mapping[str, Sample] = field(default_factory=dict)
    trains: bool = True

    @property
    def score(self) -> float:
        """Mean over trainings."""
        return float(np.mean(self.trainings))

    @property
    def unranked(self) -> str:
        """Why it has no rank; empty if it has one."""
        count = len(self.trainings)
        if not self.trains or count >= LEAST_TRAININGS:
            return ""
        return f"{count} training{'' if count == 1 else 's'}"

    @property
    def spread(self) -> float:
        """Variance between its trainings."""
        return float(np.var(self.trainings, ddof=1)) if self.trains else 0.0


@dataclass(frozen=True)
class Rank:
    """Place of one method.

    Attributes:
        rank: 1 + number of methods that are significantly better; None without enough trainings.
        score: Mean over trainings.
        ties: Ranked methods that are not significantly different from this one, best first.
        low: Lower end of the score's 95 % interval over trainings and copies; nan without a rank.
        high: Upper end.
        reason: Why there is no rank; empty if there is one.
    """

    rank: int | None
    score: float
    ties: tuple[str, ...] = ()
    low: float = math.nan
    high: float = math.nan
    reason: str = ""


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
        The comparison. Where all differences are alike nothing is known of their variance, so p is
        1, as of one copy.

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


def compare(a: Mapping[str, Sample], b: Mapping[str, Sample], level: float = 0.95) -> Comparison:
    """Paired t test of the difference of two scores.

    Parts are measured on the same copies (a part with n_f copies on the first n_f of them), and a
    copy that resists one attack tends to resist the next, so their covariance counts:

        variance = sum_f sum_g cov_fg m_fg / (n_f n_g F^2),  m_fg = min(n_f, n_g)
        1 / df = sum_f w_f / (n_f - 1),  w_f = (var_f / n_f) / sum_g (var_g / n_g)

    cov_fg is the sample covariance over the m_fg shared copies. Where all parts have all copies
    this is the paired t test of each copy's mean over parts. Taking parts as independent instead
    rejects a true null in 16 % of cases at a correlation of .2, in 31 % at .5 (level .05). The
    degrees of freedom are Satterthwaite's for perfectly correlated parts, never more.

    Copies that all differ alike are no proof that the difference is known exactly: such a part
    adds the floor variances of both sides (`Sample.floor`). A part of fewer than ten copies adds
    the variances that its two intervals stand for (`Sample.doubt`) instead of its own. Where no
    variance is known at all, p is 1 and the interval is nan.

    Args:
        a: For each of F >= 1 parts, the copies of one method.
        b: The same parts and copies of the other method.
        level: Confidence level of the interval in (0, 1).

    Returns:
        The comparison, positive where `a` has the larger score.

    Raises:
        ValueError: If the parts or the copies of a part differ, or a value is not finite.
    """
    _check("compare", a, b, level)
    parts = _paired_parts(a, b)
    means = np.array([part.mean for part in parts])
    difference = 0.0 if _negligible(means.mean(), means) else float(means.mean())
    variance, df = _of_mean(parts)
    return _tested(difference, variance, df, level)


def compare_independent(
    a: Mapping[str, Sample], b: Mapping[str, Sample], level: float = 0.95
) -> Comparison:
    """Welch's t test (1947) of the difference of two scores whose copies do not pair.

    Each score has the variance that `compare` gives it against nothing; else as `compare`.
    """
    _check("compare_independent", a, b, level)
    difference = score_of(a) - score_of(b)
    values = np.array([score_of(a), score_of(b)])
    difference = 0.0 if _negligible(difference, values) else difference
    (var_a, df_a), (var_b, df_b) = own_variance(a), own_variance(b)
    variance = var_a + var_b
    if not variance > 0:
        return _tested(difference, variance, 0.0, level)
    parts = [(v, d) for v, d in ((var_a, df_a), (var_b, df_b)) if v > 0]
    return _tested(difference, variance, variance**2 / sum(v**2 / d for v, d in parts), level)


def score_of(parts: Mapping[str, Sample]) -> float:
    """Mean over parts of the mean over copies."""
    return float(np.mean([part.values.mean() for part in parts.values()]))


def own_variance(parts: Mapping[str, Sample]) -> tuple[float, float]:
    """Variance of a score over copies and its degrees of freedom, with the guards of `compare`."""
    return _of_mean([_Part.alone(parts[name]) for name in sorted(parts)])


def ranks(methods: Mapping[str, Standing], level: float = 0.05) -> dict[str, Rank]:
    """Ranks of methods with ties, over trainings and copies.

    A method with fewer than three trainings has no rank, unless it trains nothing. Of the others,
    with s_m^2 the variance between the trainings of m, and s^2 the same pooled over methods that
    train, with nu = sum (S_m - 1) degrees of freedom:

        V = max(s^2 (1/S_a + 1/S_b), s_a^2/S_a + s_b^2/S_b) + V_copies,  t = (y_a - y_b) / sqrt(V)

    V_copies is the paired variance over copies (`compare`), which counts once since all trainings
    share codes and latents. A method that trains nothing adds neither 1/S nor to nu; of two such
    methods the copies alone tell. All pairs are adjusted by `holm`. The interval of a score is
    t_nu sqrt(max(s^2, s_m^2)/S_m + V_copies,m).

    Being tied is not transitive: the first may tie with the second and the second with the third
    while the first is better than the third.

    Args:
        methods: What is known of each; more is better.
        level: Family-wise significance level in (0, 1), reached where adjusted p <= level.

    Returns:
        Method to rank, best first (by rank, then score, then name); those without one last.

    Raises:
        ValueError: If the methods do not share parts and copies.
    """
    if not 0 < level < 1:
        msg = f"ranks: expected 0 < level < 1, got {level}"
        raise ValueError(msg)
    ranked = {name: each for name, each in methods.items() if not each.unranked}
    pooled = _Pooled.of(list(ranked.values()))
    pairs = list(combinations(sorted(ranked), 2))
    results = [_over_trainings(ranked[a], ranked[b], pooled) for a, b in pairs]
    adjusted = holm([result.p for result in results])
    better: dict[str, set[str]] = {name: set() for name in ranked}
    for (a, b), result, p in zip(pairs, results, adjusted, strict=True):
        if p <= level:
            winner, loser = (a, b) if result.difference > 0 else (b, a)
            better[loser].add(winner)

    def tied(one: str, other: str) -> bool:
        return one != other and one not in better[other] and other not in better[one]

    order = sorted(ranked, key=lambda name: (len(better[name]), -ranked[name].score, name))
    found = {
        name: Rank(
            1 + len(better[name]),
            ranked[name].score,
            tuple(o for o in order if tied(name, o)),
            *_score_limits(ranked[name], pooled, 1 - level),
        )
        for name in order
    }
    rest = sorted(methods.keys() - ranked.keys(), key=lambda name: (-methods[name].score, name))
    return found | {
        name: Rank(None, methods[name].score, reason=methods[name].unranked) for name in rest
    }


@dataclass(frozen=True)
class _Pooled:
    """Variance between trainings over all methods that train; `df` is 0 where none does."""

    variance: float
    df: int

    @classmethod
    def of(cls, methods: list[Standing]) -> "_Pooled":
        training = [m for m in methods if m.trains]
        df = sum(len(m.trainings) - 1 for m in training)
        total = sum((len(m.trainings) - 1) * m.spread for m in training)
        return cls(total / df if df else 0.0, df)


def _over_trainings(a: Standing, b: Standing, pooled: _Pooled) -> Comparison:
    if not (a.trains or b.trains):
        return compare(a.parts, b.parts)
    _check("ranks", a.parts, b.parts, 0.95)
    training = [m for m in (a, b) if m.trains]
    between = max(
        pooled.variance * sum(1 / len(m.trainings) for m in training),
        sum(m.spread / len(m.trainings) for m in training),
    )
    over_copies, _ = _of_mean(_paired_parts(a.parts, b.parts))
    # Where nothing is known of the copies, nothing is known of the difference.
    variance = between + over_copies if over_copies > 0 else 0.0
    return _tested(a.score - b.score, variance, pooled.df, 0.95)


def _score_limits(method: Standing, pooled: _Pooled, level: float) -> tuple[float, float]:
    variance, df = own_variance(method.parts)
    if method.trains:
        variance += max(pooled.variance, method.spread) / len(method.trainings)
        df = pooled.df
    if not (variance > 0 and df > 0):
        return math.nan, math.nan
    half = student_quantile(df, level) * math.sqrt(variance)
    return max(method.score - half, 0.0), min(method.score + half, 1.0)


@dataclass(frozen=True)
class _Part:
    """One part of a score, or of a difference of scores.

    Attributes:
        values: `(n,)` over copies.
        guard: Variance of the mean that stands for its own where that is zero or not believed; nan
            where none is known.
    """

    values: Floats
    guard: float

    @classmethod
    def paired(cls, differences: Floats, a: Sample, b: Sample) -> "_Part":
        if differences.size < LEAST_COPIES:
            return cls(differences, a.doubt**2 + b.doubt**2)
        return cls(differences, a.floor + b.floor)

    @classmethod
    def alone(cls, sample: Sample) -> "_Part":
        few = sample.values.size < LEAST_COPIES
        return cls(np.asarray(sample.values, np.float64), sample.doubt**2 if few else sample.floor)

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    @property
    def own(self) -> bool:
        """Whether its own variance over copies is believed."""
        few = self.values.size < LEAST_COPIES and not math.isnan(self.guard)
        return not few and self.values.size > 1 and _variance(self.values) > 0


def _paired_parts(a: Mapping[str, Sample], b: Mapping[str, Sample]) -> list[_Part]:
    return [
        _Part.paired(_differences(f"part {n!r}", a[n].values, b[n].values), a[n], b[n])
        for n in sorted(a)
    ]


def _of_mean(parts: list[_Part]) -> tuple[float, float]:
    """Variance of the mean of parts and its degrees of freedom; 0 of both where none is known."""
    own = [part for part in parts if part.own]
    guarded = [part for part in parts if not part.own]
    guards = [0.0 if math.isnan(part.guard) else part.guard for part in guarded]
    total = _summed_variance([part.values for part in own]) + sum(guards)
    weights = [_variance(part.values) / part.values.size for part in own] + guards
    freedom = [max(part.values.size - 1, 1) for part in (*own, *guarded)]
    pairs = [(w, f) for w, f in zip(weights, freedom, strict=True) if w > 0]
    if not pairs:
        return 0.0, 0.0
    df = sum(w for w, _ in pairs) / sum(w / f for w, f in pairs)
    return total / len(parts) ** 2, df


def _tested(difference: float, variance: float, df: float, level: float) -> Comparison:
    if not (variance > 0 and df > 0):
        return Comparison(difference, math.nan, math.nan, 1.0, 0)
    error = math.sqrt(variance)
    half = student_quantile(df, level) * error
    p = student_p(difference / error, df)
    return Comparison(difference, difference - half, difference + half, p, df)


def _check(who: str, a: Mapping[str, Sample], b: Mapping[str, Sample], level: float) -> None:
    if not 0 < level < 1:
        msg = f"{who}: expected 0 < level < 1, got {level}"
        raise ValueError(msg)
    if not a or a.keys() != b.keys():
        msg = f"{who}: expected the same parts, at least one, got {sorted(a)} and {sorted(b)}"
        raise ValueError(msg)


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
    """Variance of the sum of the parts' means over partly shared copies."""
    total = 0.0
    if not families:
        return total
    variances = [_variance(values) for values in families]
    for f, first in enumerate(families):
        total += variances[f] / first.size
        for second in families[f + 1 :]:
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
    return 1.0 if error == 0 else student_p(difference / error, df)

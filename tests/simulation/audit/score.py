"""Tiers, score and ranks: the formulas, from rates of copies and damage.

A *curve* is one attack: strengths in the order of the suite, each with its damage and the
right-rate of every copy. Letters: C copies, D damage, B budget, T tiers, S trainings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as law

from audit import rules

FEWEST = 10
"""Copies below which an attack decides nothing, and a spread over copies is not believed."""
TRAININGS = 3
"""Below which a method that trains has no rank."""


@dataclass(frozen=True)
class Step:
    """An attack at one strength.

    Attributes:
        label: of the point.
        damage: D.
        rates: (C,) right-rate of each copy.
    """

    label: str
    damage: float
    rates: np.ndarray


@dataclass(frozen=True)
class Place:
    """Where on a curve an adversary may stop.

    Attributes:
        step: index of the strength, or of the one before which the budget is crossed.
        crossing: whether it lies between two strengths.
        rates: (C,) there.
    """

    step: int
    crossing: bool
    rates: np.ndarray


def places(clean: np.ndarray, steps: Sequence[Step], budget: float) -> list[Place]:
    """The tested strengths within the budget, and where the line between two crosses it.

    The first line starts at (0, clean).

    Args:
        clean: (C,) untouched right-rate.
        steps: in the order of the suite.
        budget: B.
    """
    found = []
    before = Step("", 0.0, clean)
    for i, step in enumerate(steps):
        inside = step.damage <= budget
        if inside != (before.damage <= budget):
            share = (budget - before.damage) / (step.damage - before.damage)
            a, b = common([before.rates, step.rates])
            found.append(Place(i, True, a + share * (b - a)))
        if inside:
            found.append(Place(i, False, step.rates))
        before = step
    return found


def common(rates: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Cut to the copies that all have."""
    count = min(map(len, rates))
    return [r[:count] for r in rates]


def picks(candidates: Sequence[np.ndarray]) -> list[int]:
    """Number of what is worst for the copies of even index, and for those of odd index.

    Copies of even index choose for those of odd index, and the other way round, so that choosing
    costs no bias.

    Args:
        candidates: (C,) rates of each.
    """
    rates = np.stack(common(candidates))
    index = np.arange(rates.shape[1])
    chosen = (rates[:, index % 2 != p] if len(index) > 1 else rates for p in (0, 1))
    return [int(some.mean(axis=1).argmin()) for some in chosen]


def worst(candidates: Sequence[np.ndarray]) -> np.ndarray:
    """(C,) rates of what is worst on the other half of the copies, see `picks`."""
    rates = np.stack(common(candidates))
    found = np.empty(rates.shape[1])
    for parity, number in enumerate(picks(candidates)):
        found[parity::2] = rates[number, parity::2]
    return found


def mover(
    parts: Sequence[rules.Interval], by_copy: Sequence[np.ndarray]
) -> tuple[float, float, float]:
    """Mean of rates and its limits from theirs (Zou and Donner 2008), correlated over copies.

    L = s - sqrt(sum_ij r_ij (p_i - l_i)(p_j - l_j)) / T, U alike.

    Args:
        parts: of each tier.
        by_copy: (C_i,) rates behind each; copies are paired by their index.
    """
    r = np.eye(len(parts))
    for i, j in itertools.combinations(range(len(parts)), 2):
        r[i, j] = r[j, i] = correlation(*common([by_copy[i], by_copy[j]]))
    below = np.array([p.value - p.low for p in parts])
    above = np.array([p.high - p.value for p in parts])
    s = float(np.mean([p.value for p in parts]))
    down, up = (math.sqrt(side @ r @ side) / len(parts) for side in (below, above))
    return s, max(s - down, 0.0), min(s + up, 1.0)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """At least 0; 1 where copies do not differ, which tells nothing."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 1.0
    return max(float(np.corrcoef(a, b)[0, 1]), 0.0)


# -- ranks -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """Rates of copies in one tier.

    Attributes:
        rates: (C,).
        images: of each copy.
    """

    rates: np.ndarray
    images: int

    @property
    def _counts(self) -> np.ndarray:
        return np.full(len(self.rates), float(self.images))

    @property
    def interval(self) -> rules.Interval:
        """Of the mean."""
        return rules.rate(np.clip(self.rates, 0, 1) * self.images, self._counts)

    @property
    def floor(self) -> float:
        """Variance of the mean that stands where copies do not differ."""
        return rules.floor_variance(np.clip(self.rates, 0, 1) * self.images, self._counts)

    @property
    def doubt(self) -> float:
        """Variance that the interval stands for, where copies are few."""
        found = self.interval
        return ((found.high - found.low) / 2 / 1.96) ** 2


@dataclass(frozen=True)
class Method:
    """What is known of one method.

    Attributes:
        scores: (S,) of each training.
        tiers: tier -> its copies, mean over trainings; all methods have as many.
        trains: False where nothing is trained, so that trainings cannot differ.
    """

    scores: np.ndarray
    tiers: Mapping[str, Sample]
    trains: bool = True

    @property
    def ranked(self) -> bool:
        """Three trainings, or none needed."""
        return not self.trains or len(self.scores) >= TRAININGS

    @property
    def score(self) -> float:
        """Mean over trainings."""
        return float(self.scores.mean())

    @property
    def variance(self) -> float:
        """Between trainings."""
        return float(np.var(self.scores, ddof=1)) if self.trains else 0.0


@dataclass(frozen=True)
class Trainings:
    """Variance between trainings, pooled over the methods that train.

    Attributes:
        variance: s^2.
        nu: its degrees of freedom.
    """

    variance: float
    nu: int

    @classmethod
    def of(cls, methods: Sequence[Method]) -> Trainings:
        """Of the ranked ones."""
        training = [m for m in methods if m.trains]
        nu = sum(len(m.scores) - 1 for m in training)
        total = sum((len(m.scores) - 1) * m.variance for m in training)
        return cls(total / nu if nu else 0.0, nu)


def ranks(methods: Mapping[str, Method], level: float = 0.05) -> dict[str, int]:
    """Rank = 1 + number of methods significantly better, Holm over all pairs.

    V = max{s^2 (1/S_a + 1/S_b), s_a^2/S_a + s_b^2/S_b} + V_copies, t = (y_a - y_b) / sqrt(V) with
    nu = sum (S_m - 1) degrees of freedom. Of two methods that train nothing the copies tell alone.
    """
    known = {name: m for name, m in methods.items() if m.ranked}
    pooled = Trainings.of(list(known.values()))
    tested = []
    for a, b in itertools.combinations(known, 2):
        difference = known[a].score - known[b].score
        p = p_value(known[a], known[b], pooled)
        tested.append((p, *((a, b) if difference > 0 else (b, a))))
    better = dict.fromkeys(known, 0)
    for place, (p, _, loser) in enumerate(sorted(tested)):
        if p * (len(tested) - place) > level:
            break
        better[loser] += 1
    return {name: 1 + count for name, count in better.items()}


def p_value(a: Method, b: Method, pooled: Trainings) -> float:
    """Two-sided, of two methods being equal."""
    parts = []
    for tier, one in a.tiers.items():
        other, apart = b.tiers[tier], one.rates - b.tiers[tier].rates
        few = len(apart) < FEWEST
        guard = one.doubt + other.doubt if few else one.floor + other.floor
        parts.append((apart, guard))
    variance, df = of_mean(parts)
    training = [m for m in (a, b) if m.trains]
    if training:
        own = sum(m.variance / len(m.scores) for m in training)
        variance += max(sum(pooled.variance / len(m.scores) for m in training), own)
        df = pooled.nu
    if variance <= 0:
        return 1.0
    return 2 * float(law.t.sf(abs(a.score - b.score) / math.sqrt(variance), df))


def limits(method: Method, pooled: Trainings) -> tuple[float, float]:
    """t_nu sqrt(max(s^2, s_m^2) / S_m + V_copies) about the score of a ranked method."""
    parts = [
        (s.rates, s.doubt if len(s.rates) < FEWEST else s.floor) for s in method.tiers.values()
    ]
    variance, df = of_mean(parts)
    if method.trains:
        variance += max(pooled.variance, method.variance) / len(method.scores)
        df = pooled.nu
    half = rules.student(df) * math.sqrt(variance)
    return max(method.score - half, 0.0), min(method.score + half, 1.0)


def of_mean(parts: Sequence[tuple[np.ndarray, float]]) -> tuple[float, float]:
    """Variance over copies of the mean of parts, and its degrees of freedom.

    Of parts f and g with n_f and n_g copies, m of them common: cov_fg m / (n_f n_g). A part of too
    few copies, or without a spread, has its guard instead and moves with no other. Degrees of
    freedom are those of perfectly correlated parts: 1 / df = sum_f w_f / (n_f - 1), w the parts'
    shares of their variances.

    Args:
        parts: (n_f,) values of the copies, and the guard's variance of their mean.
    """
    believed = [v for v, _ in parts if len(v) >= FEWEST and np.ptp(v) > 1e-12]
    guarded = [(v, g) for v, g in parts if len(v) < FEWEST or np.ptp(v) <= 1e-12]
    total = 0.0
    for x, y in itertools.product(believed, repeat=2):
        a, b = common([x, y])
        total += float(np.cov(a, b)[0, 1]) * len(a) / (len(x) * len(y))
    own = [float(np.var(v, ddof=1)) / len(v) for v in believed]
    if len({len(v) for v in believed}) > 1:
        # Covariances of fewer copies may push the sum too low.
        total = max(total, sum(own) / len(own))
    total += sum(g for _, g in guarded)
    shares = own + [g for _, g in guarded]
    freedom = [max(len(v) - 1, 1) for v in (*believed, *(v for v, _ in guarded))]
    weight = sum(s / f for s, f in zip(shares, freedom, strict=True))
    return total / len(parts) ** 2, sum(shares) / weight if weight else 0.0

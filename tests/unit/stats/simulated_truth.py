"""Draws from worlds whose truth is known, and how often the rules of `fpbench.stats` hit it.

`tests/simulation/coverage.py` prints the tables; `test_simulated_truth.py` keeps their claims.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special
from scipy import stats as scipy_stats

from fpbench import stats

RESAMPLES = 1000
BITS = 32
ISSUED = 100
# False rate of one code, at which the worst user is looked for.
WORST_RATE = 1e-3
# Positives of the counter-example, N(3, 1) against negatives N(0, 1) (landscape.md, section 8).
POSITIVE_MEAN = 3.0

# Scores of unmarked images by their law: heavy tails have no variance, counts of bits tie.
LAWS = {
    "normal": scipy_stats.norm(),
    "Student's t, 1.5 df": scipy_stats.t(1.5),
    "count of 32 bits": scipy_stats.binom(32, 0.5),
}


def beta_binomial(rng, p, correlation, copies, images):
    """Successes `(C,)` of copies whose images agree with the given intra-cluster correlation."""
    if correlation == 0 or p in (0, 1):
        return rng.binomial(images, p, copies)
    odds = (1 - correlation) / correlation
    return rng.binomial(images, rng.beta(p * odds, (1 - p) * odds, copies))


DESIGNS = ((30, 18), (16, 32), (300, 100), (10, 18), (4, 128))
"""Copies and images of each."""


def bounded(hits, images, rng):
    found = stats.rate(hits, np.full(len(hits), images))
    return found.low, found.high


def korn_graubard(hits, images, rng):
    """Without an assumed correlation: the copies' number where their variance is zero."""
    copies, n = len(hits), len(hits) * images
    p = hits.sum() / n
    squares = ((hits - p * images) ** 2).sum()
    effective = float(copies)
    if squares > 0 and 1 <= hits.sum() <= n - 1:
        variance = copies / (copies - 1) * squares / n**2
        tails = special.stdtrit(n - 1, 0.975) / special.stdtrit(copies - 1, 0.975)
        effective = min(n, p * (1 - p) / variance * tails**2)
    x = p * effective
    low = special.betaincinv(x, effective - x + 1, 0.025) if x > 0 else 0.0
    high = special.betaincinv(x + 1, effective - x, 0.975) if x < effective else 1.0
    return low, high


def student(hits, images, rng):
    found = stats.mean(hits / images)
    return found.low, found.high


def bootstrap(hits, images, rng):
    """Percentile bootstrap over copies."""
    picks = rng.integers(0, len(hits), (RESAMPLES, len(hits)))
    return np.quantile(hits[picks].mean(axis=1) / images, [0.025, 0.975])


def clopper_pearson(hits, images, rng):
    """As if all images were independent."""
    found = stats.clopper_pearson(int(hits.sum()), images * len(hits))
    return found.low, found.high


RULES = {
    "rate (bounded)": bounded,
    "Korn–Graubard": korn_graubard,
    "mean (t on copies)": student,
    "bootstrap over copies": bootstrap,
    "Clopper–Pearson over images": clopper_pearson,
}


@dataclass(frozen=True)
class Coverage:
    """How often 95 % intervals hold the truth, and their mean width."""

    share: float
    width: float


def coverage(rule: Callable, p, correlation, copies, images, repeats, seed) -> Coverage:
    """Every rule sees the same draws of one seed."""
    drawn, own = (np.random.default_rng([seed, part]) for part in (4, 5))
    ends = np.array(
        [
            rule(beta_binomial(drawn, p, correlation, copies, images), images, own)
            for _ in range(repeats)
        ]
    )
    held = (ends[:, 0] <= p) & (p <= ends[:, 1])
    return Coverage(float(held.mean()), float(np.mean(ends[:, 1] - ends[:, 0])))


@dataclass(frozen=True)
class Spread:
    """Mean over repeats, its standard error, and the middle 95 % of the repeats."""

    mean: float
    error: float
    low: float
    high: float


def spread(values) -> Spread:
    low, high = np.quantile(values, [0.025, 0.975])
    error = np.std(values) / math.sqrt(len(values))
    return Spread(float(np.mean(values)), float(error), float(low), float(high))


def fair_bits(rng, images, bits):
    return rng.random((images, bits)) < 0.5


def leaning_bits(rng, images, bits, ones=0.7, factors=3, shared=0.6):
    """Bits with P(1) = `ones`; a few latent factors make the given share of their variance."""
    loadings = rng.normal(size=(factors, bits))
    loadings /= np.linalg.norm(loadings, axis=0)
    common = rng.normal(size=(images, factors)) @ loadings
    own = rng.normal(size=(images, bits))
    scores = math.sqrt(shared) * common + math.sqrt(1 - shared) * own
    return scores > scipy_stats.norm.ppf(1 - ones)


@dataclass(frozen=True)
class CodeError:
    """False rates of one fixed set of readings of nobody over draws of the users' codes."""

    exact: float  # of the threshold, by theory
    realised: Spread  # over draws of the codes


def code_errors(readings, cases, repeats, seed) -> tuple[dict[tuple[int, float], CodeError], float]:
    """`threshold` of every (registered, false rate); beside it what one user may suffer.

    One registered: the mean rate of a single code. More: that any of them is accused, of whom
    `ISSUED` are drawn and the rest integrated out. What one user may suffer is the largest of
    `ISSUED` users' rates at the threshold of one code and WORST_RATE, mean over draws.
    """
    rng = np.random.default_rng([seed, 1])
    bits = readings.shape[1]
    rates, worst = {case: [] for case in cases}, []
    for _ in range(repeats):
        match = stats.matches(readings, rng.random((ISSUED, bits)) < 0.5)
        worst.append(stats.false_verification(match, None, bits, WORST_RATE).max())
        for registered, rate in cases:
            rates[registered, rate].append(
                stats.false_verification(match, None, bits, rate).mean()
                if registered == 1
                else stats.accused(match, bits, registered, rate).mean()
            )
    exact = {(n, a): stats.log_any_tail(bits, stats.threshold(bits, a, n), n) for n, a in cases}
    found = {case: CodeError(float(np.exp(exact[case])), spread(rates[case])) for case in cases}
    return found, float(np.mean(worst))


def calibrated_error(law, negatives, false_rate, repeats, seed) -> Spread:
    """True false positive rate of `calibrated_threshold` over calibration sets."""
    rng = np.random.default_rng([seed, 2])
    found = [
        stats.calibrated_threshold(law.rvs(negatives, random_state=rng), false_rate)
        for _ in range(repeats)
    ]
    return spread(law.sf(np.array(found)))


def strict_rule(negatives, false_rate):
    """Threshold of the largest TPR whose empirical FPR is strictly below the rate.

    As WAVES (dev/eval.py) and W-Bench (watermark_decoding_wbench.py) take it from a ROC curve:
    accept what is above, or at, the lowest threshold that lets fewer than alpha n negatives pass.
    """
    allowed = math.ceil(false_rate * len(negatives)) - 1
    return np.sort(negatives)[len(negatives) - 1 - allowed]


@dataclass(frozen=True)
class Claim:
    """What a threshold rule reports and what is true, over draws of negatives and positives."""

    tpr: Spread
    fpr: Spread


def true_tpr(false_rate):
    return float(scipy_stats.norm.sf(scipy_stats.norm.isf(false_rate) - POSITIVE_MEAN))


def claim(rule: Callable, negatives, false_rate, repeats, seed, positives=1000) -> Claim | None:
    """None where the rule says that so few negatives support nothing."""
    rng = np.random.default_rng([seed, 3])
    tprs, thresholds = [], []
    for _ in range(repeats):
        low, high = rng.normal(size=negatives), rng.normal(POSITIVE_MEAN, 1, positives)
        threshold = rule(low, false_rate)
        if threshold is None:
            return None
        tprs.append((high > threshold).mean())
        thresholds.append(threshold)
    return Claim(spread(tprs), spread(scipy_stats.norm.sf(thresholds)))

"""How many copies and negatives a claim needs, before anything is run.

Two methods are compared on the same n copies with M images of each, by the paired two-sided t test
of `fpbench.stats.paired`. Letters: p the rate of the better method, d the difference, rho the
intra-cluster correlation, i.e. the correlation of two images of one copy, f = rho + (1 - rho) / M.

    var_a = p (1 - p) f                       of one copy's rate (Kish 1965)
    var_b = q (1 - q) f,  q = p - d
    var_d = var_a + var_b - 2 r sqrt(var_a var_b)
    delta = d / sqrt(var_d / n)
    power = P(|T| > t_{n-1}(1 - level / 2)),  T noncentral t with n - 1 degrees and delta

r is the correlation of the two methods' rates over copies, taken as 0 unless it is known. Copy
rates are taken as normal, which few images at a rate near 0 or 1 are not.
"""

import math
from bisect import bisect_left

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_MOST_COPIES = 2**40
_GRID = 1000


def copies_needed(
    difference: float,
    rate: float,
    correlation: float,
    images: int,
    power: float = 0.8,
    level: float = 0.05,
    pairing: float = 0.0,
) -> int:
    """Copies that find a difference of two methods' rates with the asked power.

    Args:
        difference: d in (0, rate].
        rate: p in (0, 1] of the better method; the other has p - d.
        correlation: rho in [0, 1] of two images of one copy.
        images: M >= 1 of each copy.
        power: Probability in (level, 1) that the test finds the difference.
        level: Significance level of the test in (0, 1).
        pairing: Correlation in [-1, 1] of the two methods' rates over copies.

    Returns:
        The smallest n >= 2 with at least this power.

    Raises:
        ValueError: If an argument is out of its range.
    """
    _check("copies_needed", rate, correlation, images, power, level, pairing)
    if not 0 < difference <= rate:
        msg = f"copies_needed: expected 0 < difference <= rate, got {difference} at rate {rate}"
        raise ValueError(msg)
    noise = math.sqrt(_variance(np.array([difference]), rate, correlation, images, pairing)[0])

    def enough(copies: int) -> bool:
        return bool(_power(np.array([difference]), np.array([noise]), copies, level)[0] >= power)

    high = 2
    while not enough(high):
        high *= 2
        assert high < _MOST_COPIES
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def detectable(
    copies: int,
    images: int,
    rate: float,
    correlation: float,
    power: float = 0.8,
    level: float = 0.05,
    pairing: float = 0.0,
) -> float | None:
    """Smallest difference of two methods' rates that is found with the asked power.

    Args:
        copies: n >= 2 that both methods share.
        images: M >= 1 of each copy.
        rate: p in (0, 1] of the better method; the other is below.
        correlation: rho in [0, 1] of two images of one copy.
        power: Probability in (level, 1) that the test finds the difference.
        level: Significance level of the test in (0, 1).
        pairing: Correlation in [-1, 1] of the two methods' rates over copies.

    Returns:
        The difference in (0, rate]; None where not even a fall to a rate of 0 is found.

    Raises:
        ValueError: If an argument is out of its range.
    """
    _check("detectable", rate, correlation, images, power, level, pairing)
    if copies < 2:
        msg = f"detectable: expected at least 2 copies, got {copies}; one has no variance"
        raise ValueError(msg)
    low, high = 0.0, rate
    # A grid finds the first crossing; with strong pairing the power need not rise with d.
    for _ in range(3):
        differences = np.linspace(low, high, _GRID + 1)[1:]
        noise = np.sqrt(_variance(differences, rate, correlation, images, pairing))
        found = np.flatnonzero(_power(differences, noise, copies, level) >= power)
        if found.size == 0:
            return None
        high = float(differences[found[0]])
        low = float(differences[found[0] - 1]) if found[0] > 0 else low
    return high


def negatives_needed(false_rate: float) -> int:
    """Images of nobody that support a claimed false rate: 3 / rate, the usual rule of three.

    With this many independent images and no alarm, the one-sided 95 % upper bound of the rate
    (`upper_bound`) is at most `false_rate`; `calibrated_threshold` needs as many.

    Args:
        false_rate: Claimed rate in (0, 1).

    Returns:
        The number of images.

    Raises:
        ValueError: If the rate is not in (0, 1).
    """
    if not 0 < false_rate < 1:
        msg = f"negatives_needed: expected 0 < false_rate < 1, got {false_rate}"
        raise ValueError(msg)
    # What is a whole number in exact arithmetic is so after rounding (3 / .001).
    return math.ceil(3 / false_rate * (1 - 1e-12))


def _variance(
    differences: Floats, rate: float, correlation: float, images: int, pairing: float
) -> Floats:
    """Variance of one copy's difference, `(m,)` for differences `(m,)`."""
    shared = correlation + (1 - correlation) / images
    other = np.maximum(rate - differences, 0)  # a rate of zero but for rounding
    first, second = rate * (1 - rate) * shared, other * (1 - other) * shared
    return np.asarray(np.maximum(first + second - 2 * pairing * np.sqrt(first * second), 0))


def binomial_excess(hits: int, trials: int, chance: float) -> float:
    """Exact one-sided p value P(Bin(n, chance) >= hits).

    Args:
        hits: Whole number in [0, n].
        trials: n >= 1 independent trials.
        chance: Probability in [0, 1] of a hit where nothing is wrong.

    Raises:
        ValueError: If an argument is out of its range.
    """
    from scipy import special

    if trials < 1 or not (0 <= hits <= trials and 0 <= chance <= 1):
        msg = f"binomial_excess: expected hits of trials >= 1 and a chance, got {hits} of {trials}"
        raise ValueError(f"{msg} at {chance}")
    # By the incomplete beta function: to load scipy's distributions takes longer than a page.
    return float(special.betainc(hits, trials - hits + 1, chance)) if hits else 1.0


def excess_power(trials: int, chance: float, factor: float, level: float) -> float:
    """Probability that `binomial_excess` <= level where hits come `factor` times as often.

    Args:
        trials: n >= 1 independent trials.
        chance: Probability in (0, 1) of a hit where nothing is wrong.
        factor: >= 1.
        level: Significance level in (0, 1); of k tests by Holm, level / k for the first.
    """
    # The least count that is significant; where not even all are, no count is.
    counts = range(trials + 1)
    least = bisect_left(counts, -level, key=lambda n: -binomial_excess(n, trials, chance))
    return binomial_excess(least, trials, min(factor * chance, 1.0)) if least <= trials else 0.0


def _power(differences: Floats, noise: Floats, copies: int, level: float) -> Floats:
    """Power of the two-sided t test, `(m,)`; 1 where a difference has no noise."""
    from scipy import special

    df = copies - 1
    t = float(special.stdtrit(df, 1 - level / 2))
    quiet = noise * math.sqrt(df + 1) <= 1e-9 * differences
    delta = differences / np.where(quiet, 1, noise) * math.sqrt(copies)
    # Beyond this the test cannot miss, and the distribution function is not computed there.
    delta = np.minimum(delta, t + 50 * max(1.0, t))
    missed = special.nctdtr(df, delta, t) - special.nctdtr(df, delta, -t)
    return np.where(quiet, 1.0, 1 - missed)


def _check(
    who: str,
    rate: float,
    correlation: float,
    images: int,
    power: float,
    level: float,
    pairing: float,
) -> None:
    problems = {
        "0 < rate <= 1": 0 < rate <= 1,
        "0 <= correlation <= 1": 0 <= correlation <= 1,
        "images >= 1": images >= 1,
        "0 < level < power < 1": 0 < level < power < 1,
        "-1 <= pairing <= 1": -1 <= pairing <= 1,
    }
    broken = [rule for rule, holds in problems.items() if not holds]
    if broken:
        msg = (
            f"{who}: expected {', '.join(broken)}, got rate {rate}, correlation {correlation}, "
            f"images {images}, power {power}, level {level}, pairing {pairing}"
        )
        raise ValueError(msg)

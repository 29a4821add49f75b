"""Exact tails of the fair binomial, in log space, and the thresholds that follow from them.

A uniform code that is independent of an image agrees with any reading in exactly Bin(K, 1/2) bits.
Everything here follows from that one law. Letters: K bits, N candidates, D distractors, s matching
bits, t a threshold.
"""

import math
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Smallest tail that is taken as a plain quotient; below it doubles lose digits and then underflow.
_SMALLEST_QUOTIENT = 1e-290
# Lets a tail that equals the false rate in exact arithmetic meet it after rounding.
_ROUNDING = 1e-12


def log_tail(bits: int, at_least: npt.ArrayLike) -> Floats:
    """Natural logarithm of P(Bin(K, 1/2) >= s), exact to double precision.

    log sum_{i >= s} C(K, i) / 2^K, summed in whole numbers (`landscape.md` section 8: `1 - cdf`
    picks wrong thresholds at 256 bits).

    Args:
        bits: K >= 1.
        at_least: s, whole numbers of any shape; s <= 0 gives 0 and s > K gives -inf.

    Returns:
        Logarithms in [-inf, 0], in the shape of `at_least`.

    Raises:
        ValueError: If `bits` is below 1 or `at_least` does not hold whole numbers.
    """
    if bits < 1:
        msg = f"log_tail: expected bits >= 1, got {bits}"
        raise ValueError(msg)
    matches = np.asarray(at_least)
    if not np.issubdtype(matches.dtype, np.integer):
        msg = f"log_tail: expected whole numbers of matching bits, got dtype {matches.dtype}"
        raise ValueError(msg)
    return np.asarray(_log_tails(bits)[np.clip(matches, 0, bits + 1)])


def log_any_tail(bits: int, at_least: npt.ArrayLike, candidates: int) -> Floats:
    """Natural logarithm of 1 - (1 - P(Bin(K, 1/2) >= s))^N, that any of N uniform codes reaches s.

    Args:
        bits: K >= 1.
        at_least: s, whole numbers of any shape.
        candidates: N >= 0; none of no candidates reaches anything, which gives -inf.

    Returns:
        Logarithms in [-inf, 0], in the shape of `at_least`.
    """
    tail = log_tail(bits, at_least)
    if candidates == 1:
        return tail
    missed = log_none(tail, candidates)
    with np.errstate(divide="ignore"):
        # exp(tail) underflows there, and N * tail is the probability to more digits than a double
        # holds.
        tiny = tail + np.log(candidates)
    return np.where(tiny < math.log(_SMALLEST_QUOTIENT), tiny, _log_complement(missed))


def threshold(bits: int, false_rate: float, candidates: int = 1) -> int | None:
    """Smallest t with 1 - (1 - P(Bin(K, 1/2) >= t))^N <= alpha.

    Args:
        bits: K >= 1.
        false_rate: alpha in (0, 1), over all candidates together (family-wise).
        candidates: N >= 1 codes that are compared with one reading.

    Returns:
        t in [1, K], or None where even K matching bits are too likely by chance.

    Raises:
        ValueError: If an argument is out of its range.
    """
    if not 0 < false_rate < 1:
        msg = f"threshold: expected 0 < false_rate < 1, got {false_rate}"
        raise ValueError(msg)
    if candidates < 1:
        msg = f"threshold: expected candidates >= 1, got {candidates}"
        raise ValueError(msg)
    rare = log_any_tail(bits, np.arange(bits + 1), candidates) <= math.log(false_rate) + _ROUNDING
    return int(np.argmax(rare)) if rare.any() else None


def supports(bits: int, registered: int, false_rate: float) -> bool:
    """Whether N users can be registered at all: N <= 2^K / 8 and a threshold exists.

    Args:
        bits: K >= 1.
        registered: N >= 1.
        false_rate: alpha in (0, 1), family-wise over the N users.

    Returns:
        False where the suite has to say "not supported".
    """
    return 8 * registered <= 2**bits and threshold(bits, false_rate, registered) is not None


def survives(bits: int, match: npt.ArrayLike, distractors: int) -> Floats:
    """Probability (1 - P(Bin(K, 1/2) >= s))^D that no uniform distractor ties or beats a match s.

    Args:
        bits: K >= 1.
        match: s, whole numbers of any shape.
        distractors: D >= 0; 0 gives probability 1.

    Returns:
        Probabilities in [0, 1], in the shape of `match`.
    """
    return np.asarray(np.exp(log_none(log_tail(bits, match), distractors)))


def largest_supported(bits: int, false_rate: float, candidates_grid: Iterable[int]) -> int | None:
    """Largest N of a grid that `supports` admits, or None where it admits none.

    Args:
        bits: K >= 1.
        false_rate: alpha in (0, 1), family-wise.
        candidates_grid: Numbers of registered users N >= 1, in any order.

    Returns:
        A member of the grid or None.
    """
    return max((n for n in candidates_grid if supports(bits, n, false_rate)), default=None)


def capacity(bits: int, bit_error_rate: float) -> float:
    """Capacity K * (1 - H2(BER)) of K uses of a binary symmetric channel (Shannon 1948), in bits.

    Args:
        bits: K >= 1.
        bit_error_rate: Share of wrong bits in [0, 1].

    Returns:
        Bits in [0, K]; 0 at one half. Symmetric about one half, since a reader that is always wrong
        can be negated.

    Raises:
        ValueError: If the bit error rate is not in [0, 1].
    """
    if not 0 <= bit_error_rate <= 1:
        msg = f"capacity: expected 0 <= bit_error_rate <= 1, got {bit_error_rate}"
        raise ValueError(msg)
    entropy = -sum(p * math.log2(p) for p in (bit_error_rate, 1 - bit_error_rate) if p > 0)
    return bits * max(1 - entropy, 0.0)


def log_none(tail: Floats, candidates: int) -> Floats:
    """Logarithm of the probability (1 - exp(tail))^N that none of N candidates reaches it."""
    if candidates < 0:
        msg = f"tails: expected a number of candidates or distractors >= 0, got {candidates}"
        raise ValueError(msg)
    if candidates == 0:
        return np.zeros_like(tail)
    return candidates * _log_complement(tail)


def _log_complement(log: Floats) -> Floats:
    """log(1 - exp(log)), in the form that keeps its digits on each side of 1/2."""
    with np.errstate(divide="ignore"):
        return np.where(log > -math.log(2), np.log(-np.expm1(log)), np.log1p(-np.exp(log)))


@lru_cache(maxsize=64)
def _log_tails(bits: int) -> Floats:
    """Log tails for s = 0 .. K+1, `(K+2,)`, read-only because it is shared."""
    total = 1 << bits
    above = [0] * (bits + 2)
    choose = 1
    for s in range(bits, -1, -1):
        above[s] = above[s + 1] + choose
        choose = choose * s // (bits - s + 1)
    table = np.array([_log_quotient(count, total) for count in above])
    table.flags.writeable = False
    return table


def _log_quotient(count: int, total: int) -> float:
    if count == 0:
        return -math.inf
    if 2 * count > total:
        # Near 1 the logarithm is about minus the complement, whose digits count / total has lost.
        return math.log1p(-((total - count) / total))
    quotient = count / total
    return (
        math.log(quotient) if quotient > _SMALLEST_QUOTIENT else math.log(count) - math.log(total)
    )

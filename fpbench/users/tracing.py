"""From what was read in images to whom it leads: an accountable user, or nobody.

Letters: N readings, R codes that were ever issued (active, revoked and rotated: those copies are
still out there), K bits. Codes are independent fair bits, so that the code of somebody innocent
agrees with any reading in Bin(K, 1/2) bits, whatever the reader; the family-wise error of an
accusation is the chance that any of R innocents agrees so well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from fpbench.api import SpecError
from fpbench.stats.tails import log_any_tail, log_tail, threshold
from fpbench.users.search import above, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rule = Literal["best", "all", "one"]
"""Who is accused: the best match; all above the threshold, as of a coalition; or whoever is above
it alone, since several point to a forgery."""


@dataclass(frozen=True)
class Suspect:
    """A code that agrees with a reading.

    Attributes:
        number: of the code in the registry.
        match: bits that are equal.
        p_value: chance that the code of somebody innocent agrees at least so well.
        family_wise: chance that any of the R codes of innocents does.
    """

    number: int
    match: int
    p_value: float
    family_wise: float


@dataclass(frozen=True)
class Verdict:
    """What one reading says.

    Attributes:
        accused: nobody where it is empty.
        best: the best match, accused or not; None in an empty registry.
        margin: bits by which it is ahead of the next; None without a next.
        threshold: least match that is enough; None where the bits cannot support so many codes.
        codes: R.
        reason: why nobody is accused; empty where somebody is.
    """

    accused: tuple[Suspect, ...]
    best: Suspect | None
    margin: int | None
    threshold: int | None
    codes: int
    reason: str


def trace(
    packed: NDArray[np.uint8],
    logits: NDArray[np.floating],
    false_rate: float,
    rule: Rule = "best",
    *,
    jobs: int = 1,
) -> list[Verdict]:
    """A verdict for each reading.

    Args:
        packed: (R, ceil(K/8)) uint8, as `Registry.codes` gives them.
        logits: (N, K), bit k is 1 where they exceed 0.
        false_rate: α, family-wise over the R codes, per reading.
        rule: who is accused.
        jobs: processes of the search.

    Raises:
        SpecError: the readings are no finite (N, K), or α is not in (0, 1).
    """
    if logits.ndim != 2 or not logits.shape[1] or not np.isfinite(logits).all():
        raise SpecError([f"trace: expected finite logits (N, K), got {logits.shape}"])
    if not 0 < false_rate < 1:
        raise SpecError([f"trace: expected a false rate in (0, 1), got {false_rate}"])
    bits, codes, readings = logits.shape[1], len(packed), logits > 0
    if not codes:
        nobody = Verdict((), None, None, None, 0, "no code was issued yet")
        return [nobody] * len(readings)
    least = threshold(bits, false_rate, codes)
    found = nearest(packed, readings, 2, jobs=jobs)
    hits: dict[int, list[tuple[int, int]]] = {}
    if least is not None and rule != "best":
        over = above(packed, readings, least, jobs=jobs)
        for reading, number, match in zip(over.reading, over.number, over.match, strict=True):
            hits.setdefault(int(reading), []).append((int(number), int(match)))
    return [
        _verdict(bits, codes, least, rule, found.number[i], found.match[i], hits.get(i, []))
        for i in range(len(readings))
    ]


def pooled(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(1, K) mean of the readings of images of one source, each as loud as the others."""
    loudness = np.sqrt(np.square(logits, dtype=np.float64).mean(axis=1, keepdims=True))
    mean: NDArray[np.float64] = (logits / np.maximum(loudness, 1e-300)).mean(0, keepdims=True)
    return mean


def _verdict(
    bits: int,
    codes: int,
    least: int | None,
    rule: Rule,
    numbers: NDArray[np.int64],
    matches: NDArray[np.int64],
    hits: list[tuple[int, int]],
) -> Verdict:
    best = _suspect(bits, codes, int(numbers[0]), int(matches[0]))
    margin = int(matches[0] - matches[1]) if numbers[1] >= 0 else None
    accused: tuple[Suspect, ...] = ()
    if least is None:
        reason = f"{bits} bits cannot support {codes:,} codes at this false rate"
    elif best.match < least:
        reason = f"no code agrees in {least} of {bits} bits, as an accusation takes"
    elif rule == "best" and margin == 0:
        reason = "several codes agree equally well"
    elif rule == "one" and len(hits) > 1:
        reason = f"{len(hits)} codes agree well enough, and one was asked for"
    else:
        reason = ""
        accused = (best,) if rule != "all" else _all(bits, codes, hits)
    return Verdict(accused, best, margin, least, codes, reason)


def _all(bits: int, codes: int, hits: list[tuple[int, int]]) -> tuple[Suspect, ...]:
    ordered = sorted(hits, key=lambda hit: (-hit[1], hit[0]))
    return tuple(_suspect(bits, codes, number, match) for number, match in ordered)


def _suspect(bits: int, codes: int, number: int, match: int) -> Suspect:
    p_value = math.exp(float(log_tail(bits, match)))
    return Suspect(number, match, p_value, math.exp(float(log_any_tail(bits, match, codes))))

"""From what was read in images to whom it leads: an accountable user, or nobody.

Of bits here; of scores `fpbench.users.scores`. Letters: N readings, R codes that were ever issued
(active, revoked and rotated: those copies are still out there), K bits. Codes are independent fair
bits, so that the code of somebody innocent agrees with any reading in Bin(K, 1/2) bits, whatever
the reader; the family-wise error of an accusation is the chance that any of R innocents agrees so
well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """A user whom a reading points to.

    Attributes:
        number: of his code in the registry.
        match: bits that are equal; of scores, deviations above what is read without a mark.
        p_value: chance that somebody innocent matches at least so well.
        family_wise: chance that any of R innocents does.
    """

    number: int
    match: float
    p_value: float
    family_wise: float


@dataclass(frozen=True)
class Verdict:
    """What one reading says.

    Attributes:
        accused: nobody where it is empty.
        best: the best match, accused or not; None in an empty registry.
        margin: by which it is ahead of the next; None without a next.
        threshold: least match that is enough; None where so many users are not supported.
        codes: R.
        reason: why nobody is accused; empty where somebody is.
    """

    accused: tuple[Suspect, ...]
    best: Suspect | None
    margin: float | None
    threshold: float | None
    codes: int
    reason: str


NOBODY_YET = Verdict((), None, None, None, 0, "no code was issued yet")
"""Of an empty registry."""


@dataclass(frozen=True)
class Wording:
    """Why nobody is accused, in the words of bits or of scores.

    Attributes:
        unsupported: there is no threshold.
        lacking: the best match is below it.
        tied: several matches are the best.
        several: as many as {} are above it.
    """

    unsupported: str
    lacking: str
    tied: str
    several: str


def decided(
    codes: int,
    least: float | None,
    rule: Rule,
    best: Suspect,
    margin: float | None,
    over: Sequence[Suspect],
    wording: Wording,
) -> Verdict:
    """Whom a rule accuses.

    Args:
        codes: R.
        least: threshold.
        rule: who is accused.
        best: the best match.
        margin: by which it is ahead of the next.
        over: all above the threshold; not looked at by the rule "best".
        wording: why nobody is.
    """
    accused: tuple[Suspect, ...] = ()
    if least is None:
        reason = wording.unsupported
    elif best.match < least:
        reason = wording.lacking
    elif rule == "best" and margin == 0:
        reason = wording.tied
    elif rule == "one" and len(over) > 1:
        reason = wording.several.format(len(over))
    else:
        reason = ""
        ordered = sorted(over, key=lambda suspect: (-suspect.match, suspect.number))
        accused = tuple(ordered) if rule == "all" else (best,)
    return Verdict(accused, best, margin, least, codes, reason)


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
        return [NOBODY_YET] * len(readings)
    least = threshold(bits, false_rate, codes)
    found = nearest(packed, readings, 2, jobs=jobs)
    hits: dict[int, list[Suspect]] = {}
    if least is not None and rule != "best":
        over = above(packed, readings, least, jobs=jobs)
        for reading, number, match in zip(over.reading, over.number, over.match, strict=True):
            hits.setdefault(int(reading), []).append(_suspect(bits, codes, number, match))
    wording = Wording(
        f"{bits} bits cannot support {codes:,} codes at this false rate",
        f"no code agrees in {least} of {bits} bits, as an accusation takes",
        "several codes agree equally well",
        "{} codes agree well enough, and one was asked for",
    )
    verdicts = []
    for row, (numbers, matches) in enumerate(zip(found.number, found.match, strict=True)):
        best = _suspect(bits, codes, numbers[0], matches[0])
        margin = int(matches[0] - matches[1]) if numbers[1] >= 0 else None
        verdicts.append(decided(codes, least, rule, best, margin, hits.get(row, []), wording))
    return verdicts


def pooled(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(1, K) mean of the readings of images of one source, each as loud as the others."""
    loudness = np.sqrt(np.square(logits, dtype=np.float64).mean(axis=1, keepdims=True))
    mean: NDArray[np.float64] = (logits / np.maximum(loudness, 1e-300)).mean(0, keepdims=True)
    return mean


def _suspect(bits: int, codes: int, number: int, match: int) -> Suspect:
    p_value = math.exp(float(log_tail(bits, match)))
    family_wise = math.exp(float(log_any_tail(bits, match, codes)))
    return Suspect(int(number), int(match), p_value, family_wise)

"""What the measures of readings share. Letters: N images, K bits, U issued users, C copies."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from fpbench.api import CellEvidence, Outcome, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from fpbench.stats import Interval, Matching

T = TypeVar("T")

CLAIM_RATES = (1e-2, 1e-3, 1e-6)
"""False rates at which one claimed code is verified."""
CLAIM_COPIES = 30
"""Copies from which on a rate is called a claim."""
NO_CLAIM = "no_claim"
"""Key of a row's detail that says why the number is shown but claims nothing."""


@dataclass(frozen=True)
class Reading:
    """Readings of a cell, images of all its copies stacked.

    Attributes:
        logits: (N, K).
        match: with every code that is known, the U issued ones first.
        owners: (N,) index of the user behind each image.
        counts: (C,) images of each copy.
        codes: (U, K) bool.
    """

    logits: NDArray[np.float32]
    match: Matching
    owners: NDArray[np.int64]
    counts: NDArray[np.int64]
    codes: NDArray[np.bool_]

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N, K) which bits are right."""
        right: NDArray[np.bool_] = (self.logits > 0) == self.codes[self.owners]
        return right

    def per_copy(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """(C,) sums of per-image values over each copy."""
        return sums(values, self.counts)


def reading(evidence: CellEvidence) -> Reading:
    """The readings of a cell whose columns are users' copies."""
    import numpy as np

    def made() -> Reading:
        logits = np.concatenate([np.asarray(column["logits"]) for column in evidence.copies])
        counts = image_counts(evidence)
        owners = np.repeat(np.arange(len(counts)), counts)
        match = match_of(evidence, logits, owners)
        return Reading(logits, match, owners, counts, evidence.codes)

    return _once(evidence, "reading", made)


def match_of(
    evidence: CellEvidence, logits: NDArray[Any], owners: NDArray[np.int64] | None = None
) -> Matching:
    """How readings (N, K) match each code that is known, the issued ones first."""
    from fpbench import stats

    known = evidence.codes if evidence.registry is None else evidence.registry
    # Claims at the largest rate have the lowest threshold that anybody asks for.
    least = stats.threshold(known.shape[1], max(CLAIM_RATES)) if evidence.uniform else None
    return stats.Matching(logits > 0, known, owners, len(evidence.codes), least)


def negative_match(evidence: CellEvidence, source: str) -> Matching:
    """The same of one source of negatives."""
    import numpy as np

    def made() -> Matching:
        return match_of(evidence, np.asarray(evidence.negatives[source]["logits"]))

    return _once(evidence, f"match of {source}", made)


class _Last:
    """The cell that was asked for last, and what was computed of it."""

    cell: weakref.ref[CellEvidence] | None = None
    found: ClassVar[dict[str, Any]] = {}


def _once(evidence: CellEvidence, name: str, make: Callable[[], T]) -> T:
    """What all measures of a cell share. It is ours alone: nobody else's metric can spoil it."""
    if _Last.cell is None or _Last.cell() is not evidence:
        _Last.found.clear()
        _Last.cell = weakref.ref(evidence, _forget)
    if name not in _Last.found:
        _Last.found[name] = make()
    found: T = _Last.found[name]
    return found


def _forget(gone: weakref.ref[CellEvidence]) -> None:
    if _Last.cell is gone:
        _Last.found.clear()


def image_counts(evidence: CellEvidence) -> NDArray[np.int64]:
    """(C,) images of each column."""
    import numpy as np

    return np.array([len(column["logits"]) for column in evidence.copies])


def sums(values: NDArray[Any], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(C,) sums over each cluster of per-image values that lie cluster by cluster."""
    import numpy as np

    ends = np.cumsum(counts)
    return np.add.reduceat(np.asarray(values, dtype=np.float64), np.r_[0, ends[:-1]])


def interval_row(interval: Interval, **more: object) -> Row:
    """A row of a value with its interval."""
    return Row(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        rule=interval.rule,
        n=interval.n,
        clusters=interval.clusters,
        **more,  # type: ignore[arg-type]
    )


def rate_row(
    successes: Any,
    counts: NDArray[np.int64],
    variant: str = "",
    detail: Mapping[str, Any] | None = None,
) -> Row:
    """A rate with its clustered interval.

    Args:
        successes: (N,) in [0, 1], images of the clusters one behind the other.
        counts: (C,) images of each cluster.
        variant: of the row.
        detail: of the row; that few copies claim nothing is added.
    """
    from fpbench import stats

    hits = sums(successes, counts)
    return interval_row(
        stats.rate(hits, counts),
        variant=variant,
        by_copy=list(hits / counts),
        detail={**(detail or {}), **few_copies(len(counts))},
    )


def few_copies(copies: int) -> dict[str, str]:
    """Part of a detail that says that so few copies claim nothing; empty where they do."""
    if copies >= CLAIM_COPIES:
        return {}
    return {NO_CLAIM: f"{copies} copies; a claim needs {CLAIM_COPIES}"}


def unproven(bound: float, false_rate: float) -> dict[str, str]:
    """The same where a false rate's upper bound lies above the rate that is stated."""
    if bound <= false_rate:
        return {}
    return {NO_CLAIM: f"at most {bound:.2g} is shown, not {false_rate:g}"}


def few_negatives(images: int, false_rate: float) -> bool:
    """Whether so few negatives calibrate no threshold of this rate."""
    from fpbench import stats

    return images < stats.negatives_needed(false_rate)


def supported(evidence: CellEvidence, registered: int | None = None) -> bool:
    """Whether there is a threshold that tells N registered users apart, the issued among them."""
    from fpbench import stats

    users, bits = evidence.codes.shape
    n = evidence.registered if registered is None else registered
    if not evidence.uniform:
        return _calibrated(evidence, n) is not None
    return n >= users and stats.supports(bits, n, evidence.false_rate)


def not_supported(evidence: CellEvidence, variant: str = "", registered: int | None = None) -> Row:
    """A row for a number of N registered users that has no threshold."""
    from fpbench import stats

    users, bits = evidence.codes.shape
    n = evidence.registered if registered is None else registered
    if n < users:
        reason = f"{users:,} users are issued, more than the {n:,} that are asked about"
    elif not evidence.uniform:
        needed = stats.negatives_needed(evidence.false_rate)
        reason = (
            "codes are not uniform, so thresholds are calibrated for the suite's N alone, from at "
            f"least {needed:,} untouched negatives of a source, and codes are drawn for all N"
        )
    else:
        reason = (
            f"{bits} bits cannot tell {n:,} users apart at a false rate of {evidence.false_rate:g}"
        )
    return Row(variant, outcome=Outcome.NOT_SUPPORTED, reason=reason)


def threshold_of(evidence: CellEvidence, registered: int | None = None) -> int:
    """The threshold in bits, where N users are supported."""
    from fpbench import stats

    n = evidence.registered if registered is None else registered
    if evidence.uniform:
        found = stats.threshold(evidence.codes.shape[1], evidence.false_rate, n)
    else:
        found = _calibrated(evidence, n)
    assert found is not None  # whoever asks has asked `supported` before
    return found


def asked(
    evidence: CellEvidence, registered: int | None = None
) -> tuple[int, int, float, int | None]:
    """(K, N, α, calibrated threshold or None): the last arguments of `stats.open_set` and others.

    Where N users are supported.
    """
    n = evidence.registered if registered is None else registered
    calibrated = None if evidence.uniform else threshold_of(evidence, n)
    return evidence.codes.shape[1], n, evidence.false_rate, calibrated


def rule_of(evidence: CellEvidence) -> str:
    """How thresholds are set, for the records."""
    return "exact binomial tail over N codes" if evidence.uniform else "calibrated on negatives"


def claim_threshold(evidence: CellEvidence, false_rate: float) -> int | None:
    """Threshold in bits of matching one claimed code; None where there is none."""
    from fpbench import stats

    if evidence.uniform:
        return stats.threshold(evidence.codes.shape[1], false_rate)
    return _largest(evidence, false_rate, lambda match: match.ravel())


def _calibrated(evidence: CellEvidence, registered: int) -> int | None:
    """The same for the largest match with any registered code."""
    if registered != evidence.registered or evidence.registry is None:
        return None
    return _largest(evidence, evidence.false_rate, lambda match: match.max(axis=1))


def _largest(
    evidence: CellEvidence,
    false_rate: float,
    score: Callable[[NDArray[np.int64]], NDArray[np.int64]],
) -> int | None:
    """The larger of the thresholds that the sources of negatives give."""
    import numpy as np

    from fpbench import stats

    known = evidence.codes if evidence.registry is None else evidence.registry
    found = []
    for column in evidence.calibration.values():
        logits = np.asarray(column["logits"])
        if few_negatives(len(logits), false_rate):  # however many claims are made of each
            return None
        match = stats.matches(logits > 0, known)
        accepted_above = stats.calibrated_threshold(score(match), false_rate)
        assert accepted_above is not None  # of enough images
        found.append(int(accepted_above) + 1)
    return max(found)

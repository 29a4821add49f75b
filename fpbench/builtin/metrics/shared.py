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

    from fpbench.stats import Interval, Matching, ScoreTable, Yardstick

    Seen = Matching | ScoreTable

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
        logits: (N, K), (N, U) or (N,), as the method gives.
        match: with every issued code, or every registered user's score.
        owners: (N,) index of the user behind each image.
        counts: (C,) images of each copy.
        codes: (U, K) bool.
    """

    logits: NDArray[np.float32]
    match: Seen
    owners: NDArray[np.int64]
    counts: NDArray[np.int64]
    codes: NDArray[np.bool_]

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N, K) which bits are right, of a method that gives bits."""
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
    evidence: CellEvidence,
    logits: NDArray[Any],
    owners: NDArray[np.int64] | None = None,
) -> Seen:
    """How readings match each issued code, or what each registered user scores.

    Args:
        evidence: of the cell.
        logits: readings; of several images together, the sum of bits, the mean of all else.
        owners: (N,) user behind each; None = nobody's.
    """
    from fpbench import stats

    users = len(evidence.codes)
    if evidence.gives != "bits":
        whose = None if evidence.gives == "presence" else owners
        return stats.ScoreTable(_yardstick(evidence).standardised(logits), whose)
    if evidence.log_tails is not None:
        return stats.Surprise(evidence.log_tails(logits, evidence.codes), owners, users)
    # Claims at the largest rate have the lowest threshold that anybody asks for.
    least = stats.threshold(evidence.codes.shape[1], max(CLAIM_RATES))
    return stats.Matching(logits > 0, evidence.codes, owners, users, least)


def negative_match(evidence: CellEvidence, source: str) -> Seen:
    """The same of one source of negatives."""
    import numpy as np

    def made() -> Seen:
        return match_of(evidence, np.asarray(evidence.negatives[source]["logits"]))

    return _once(evidence, f"match of {source}", made)


def silent(evidence: CellEvidence) -> list[str]:
    """Sources of negatives on which the method must not fire."""
    return sorted(evidence.silent & evidence.negatives.keys())


def _calibration(evidence: CellEvidence) -> list[NDArray[Any]]:
    """Scores of the negatives that set thresholds, source by source."""
    return [column["logits"] for _, column in sorted(evidence.calibration.items())]


def _yardstick(evidence: CellEvidence) -> Yardstick:
    from fpbench import stats

    return _once(evidence, "yardstick", lambda: stats.yardstick(_calibration(evidence)))


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


def supported(evidence: CellEvidence, registered: int | None = None, images: int = 1) -> bool:
    """Whether there is a threshold that tells N registered users apart, the issued among them."""
    from fpbench import stats

    users, bits = evidence.codes.shape
    n = evidence.registered if registered is None else registered
    if evidence.gives != "bits":
        return n == users and _calibrated(evidence, evidence.false_rate, images) is not None
    return n >= users and stats.supports(bits, n, evidence.false_rate)


def not_supported(
    evidence: CellEvidence, variant: str = "", registered: int | None = None, images: int = 1
) -> Row:
    """A row for a number of N registered users that has no threshold."""
    from fpbench import stats

    users, bits = evidence.codes.shape
    n = evidence.registered if registered is None else registered
    if n < users:
        reason = f"{users:,} users are issued, more than the {n:,} that are asked about"
    elif evidence.gives != "bits" and n > users:
        reason = (
            f"scores are calibrated on those of the {users:,} registered users, and say nothing of "
            f"{n:,}"
        )
    elif evidence.gives != "bits":
        needed = images * stats.negatives_needed(evidence.false_rate)
        reason = (
            f"a false rate of {evidence.false_rate:g} is calibrated on at least {needed:,} "
            "untouched negatives of each source, and as many test it"
        )
    else:
        reason = (
            f"{bits} bits cannot tell {n:,} users apart at a false rate of {evidence.false_rate:g}"
        )
    return Row(variant, outcome=Outcome.NOT_SUPPORTED, reason=reason)


def threshold_of(evidence: CellEvidence, registered: int | None = None, images: int = 1) -> float:
    """The threshold of what `match_of` gives, where N users are supported: bits where it counts."""
    from fpbench import stats

    n = evidence.registered if registered is None else registered
    if evidence.gives != "bits":
        found = _calibrated(evidence, evidence.false_rate, images)
    elif evidence.uniform:
        found = stats.threshold(evidence.codes.shape[1], evidence.false_rate, n)
    else:
        found = stats.surprise_threshold(evidence.false_rate, n)
    assert found is not None  # whoever asks has asked `supported` before
    return found


def told(threshold: float) -> dict[str, float]:
    """Part of a detail that says a threshold: in bits where matches are counted."""
    return {"threshold_bits" if isinstance(threshold, int) else "threshold": threshold}


def asked(
    evidence: CellEvidence, registered: int | None = None, images: int = 1
) -> tuple[int, int, float, float | None]:
    """(K, N, α, calibrated threshold or None): the last arguments of `stats.open_set` and others.

    Where N users are supported.
    """
    n = evidence.registered if registered is None else registered
    calibrated = None if evidence.gives == "bits" else threshold_of(evidence, n, images)
    n = 1 if evidence.gives == "presence" else n  # of one score, whatever the number of copies
    return evidence.codes.shape[1], n, evidence.false_rate, calibrated


def spared(evidence: CellEvidence, threshold: float) -> float:
    """Probability that no registered user beyond the issued ones reaches a threshold."""
    import numpy as np

    from fpbench import stats

    others = evidence.registered - len(evidence.codes)
    if evidence.uniform:
        return float(stats.survives(evidence.codes.shape[1], np.array(int(threshold)), others))
    return float(stats.unsurpassed(threshold, others)) if evidence.gives == "bits" else 1.0


def converged(evidence: CellEvidence, reached: float) -> dict[str, Any]:
    """Part of a detail that says whether a method has passed its gate."""
    return {"gate": evidence.gate, "converged": reached >= evidence.gate}


def rule_of(evidence: CellEvidence) -> str:
    """How thresholds are set, for the records."""
    if evidence.gives != "bits":
        return "calibrated on negatives"
    return "exact binomial tail over N codes" if evidence.uniform else "tail over N codes"


def claim_threshold(evidence: CellEvidence, false_rate: float) -> float | None:
    """Threshold of matching one claimed code; None where there is none."""
    from fpbench import stats

    if evidence.gives != "bits":
        return _calibrated(evidence, false_rate, claim=True)
    if not evidence.uniform:
        return stats.surprise_threshold(false_rate)
    return stats.threshold(evidence.codes.shape[1], false_rate)


def claim_tail(evidence: CellEvidence, threshold: float) -> float | None:
    """Probability that an innocent's code reaches a threshold, where that is exact."""
    import numpy as np

    from fpbench import stats

    if not evidence.uniform:
        return None
    return float(np.exp(stats.log_tail(evidence.codes.shape[1], np.int64(threshold))))


def _calibrated(
    evidence: CellEvidence, false_rate: float, images: int = 1, *, claim: bool = False
) -> float | None:
    """The larger of the thresholds that the sources give, of the largest column or of any one.

    None where a source has too few negatives, however many claims are made of each.
    """
    from fpbench import stats

    def made() -> float | None:
        return stats.score_threshold(_calibration(evidence), false_rate, images, claim=claim)

    return _once(evidence, f"threshold {false_rate} {images} {claim}", made)

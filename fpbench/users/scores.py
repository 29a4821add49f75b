"""From scores of registered users to whom they lead: an accountable user, or nobody.

Thresholds are those of a board: every column is standardised by what the method reads in images
without a mark, and the largest column of half of these images, mean of as many as are judged
together, sets the threshold. So they hold for the users of this registry, and for no more.

Letters: N readings, R users who were ever registered, n negatives of a source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fpbench.api import SpecError
from fpbench.stats import (
    CALIBRATING,
    TESTING,
    negatives_needed,
    score_tail,
    score_threshold,
    yardstick,
)
from fpbench.users.tracing import NOBODY_YET, Rule, Suspect, Verdict, Wording, decided

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Negatives = Mapping[str, NDArray[np.floating]]


def trace_scores(
    negatives: Negatives,
    scores: NDArray[np.floating],
    false_rate: float,
    rule: Rule = "best",
    *,
    images: int = 1,
) -> list[Verdict]:
    """A verdict for each reading.

    Args:
        negatives: source -> (n, R) scores of images without a mark.
        scores: (N, R).
        false_rate: α, family-wise over the R users, per reading.
        rule: who is accused.
        images: of which each reading is the mean.

    Raises:
        SpecError: the readings are no finite (N, R), or α is not in (0, 1).
    """
    if scores.ndim != 2 or not np.isfinite(scores).all():
        raise SpecError([f"trace: expected finite scores (N, R), got {scores.shape}"])
    if not 0 < false_rate < 1:
        raise SpecError([f"trace: expected a false rate in (0, 1), got {false_rate}"])
    users = scores.shape[1]
    if not users:
        return [NOBODY_YET] * len(scores)
    sources = _half(negatives, CALIBRATING, users)
    least = score_threshold(sources, false_rate, images)
    wording = _wording(sources, least, false_rate, images)
    rows = yardstick(sources).standardised(scores)
    of_one = score_tail(sources, rows, images, claim=True)
    of_any = score_tail(sources, rows, images)
    verdicts = []
    for row, one, every in zip(rows, of_one, of_any, strict=True):
        order = np.argsort(-row, kind="stable")
        enough = 0 if least is None else int(np.count_nonzero(row >= least))
        suspects = [
            Suspect(int(n), float(row[n]), float(one[n]), float(every[n]))
            for n in order[: max(enough, 1)]
        ]
        margin = float(row[order[0]] - row[order[1]]) if users > 1 else None
        found = decided(users, least, rule, suspects[0], margin, suspects[:enough], wording)
        verdicts.append(found)
    return verdicts


def tried(
    negatives: Negatives, users: int, false_rate: float, images: int = 1
) -> dict[str, tuple[int, int]]:
    """Of the other half of each source, how many readings reach the threshold, of how many.

    Args:
        negatives: as in `trace_scores`.
        users: R.
        false_rate: α.
        images: of which a reading is the mean.
    """
    sources = _half(negatives, CALIBRATING, users)
    least, own, found = score_threshold(sources, false_rate, images), yardstick(sources), {}
    for source, others in zip(sorted(negatives), _half(negatives, TESTING, users), strict=True):
        groups = len(others) // images
        means = others[: groups * images].reshape(groups, images, users).mean(1)
        highest = own.standardised(means).max(1)
        found[source] = (0 if least is None else int(np.sum(highest >= least)), groups)
    return found


def _half(negatives: Negatives, half: slice, users: int) -> list[NDArray[np.float64]]:
    """(n, R) of each source, in their order.

    Raises:
        SpecError: they are something else.
    """
    for source, scores in negatives.items():
        if scores.shape[1:] != (users,) or len(scores) < 2 or not np.isfinite(scores).all():
            text = f"expected finite scores (n, {users}) of images without a mark, n at least 2"
            raise SpecError([f"trace: {text}, got {scores.shape} as {source}"])
    if not negatives:
        raise SpecError(["trace: expected scores of images without a mark, got none"])
    return [np.asarray(scores[half], np.float64) for _, scores in sorted(negatives.items())]


def _wording(
    sources: Sequence[Any], least: float | None, false_rate: float, images: int
) -> Wording:
    needed, got = images * negatives_needed(false_rate), min(map(len, sources))
    enough = "" if least is None else f"{least:.4g}"
    return Wording(
        f"a false rate of {false_rate:g} is calibrated on at least {needed:,} untouched negatives "
        f"of each source, and there are {got:,}",
        f"nobody's score is {enough} deviations up, as an accusation takes",
        "several users score equally well",
        "{} users score well enough, and one was asked for",
    )

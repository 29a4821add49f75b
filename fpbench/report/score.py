"""The score of a method, its rank or place, and what it takes to remove the fingerprint.

A score is the mean of the threat tiers that the suite has (`tiers.py`). Nothing that is missing is
counted as 0 or left out: it leaves the method without a score. Ranks need three trainings of each
method that trains (`stats.ranks`); with fewer there is an order by score, and nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fpbench import stats
from fpbench.report import show
from fpbench.report.kinds import GATES
from fpbench.report.rankings import ATTRIBUTION, BY_ATTRIBUTION, TIERS, Table, tables_of
from fpbench.report.tables import NONE, Board, MethodInfo
from fpbench.report.tiers import (
    Candidate,
    Curves,
    TierScore,
    candidates,
    points_in,
    score_tiers,
    tiers_of,
)

REMOVED_BELOW = 0.5
"""Right-rate below which a fingerprint counts as removed."""
_SHOWN_PROBLEMS = 3


@dataclass(frozen=True)
class MethodScore:
    """A method's score or why it has none.

    Attributes:
        value: None where a number is missing or N is not supported.
        low: lower end of the interval, None where it cannot be known.
        high: upper end.
        rule: how the interval was made, and of what.
        seeds: the score of each training.
        tiers: tier -> its part, averaged over trainings.
        price: the cheapest attack within the budgets that removes the fingerprint; None if none
            does.
        problems: why it has no place at all; empty if it has one.
        rank: shared by ties; None where there are too few trainings.
        unranked: why it has a place and no rank, e.g. "1 training".
        ties: ranked methods that are not significantly different.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    rule: str = ""
    seeds: tuple[float, ...] = ()
    tiers: Mapping[str, TierScore] = field(default_factory=dict)
    price: Candidate | None = None
    problems: tuple[str, ...] = ()
    rank: int | None = None
    unranked: str = ""
    ties: tuple[str, ...] = ()

    @property
    def placed(self) -> bool:
        """Whether it has a score that may stand beside others."""
        return self.value is not None and not self.problems

    @property
    def reason(self) -> str:
        """Why it has no place, in one line."""
        more = len(self.problems) - _SHOWN_PROBLEMS
        tail = f"; and {more} more" if more > 0 else ""
        return "; ".join(self.problems[:_SHOWN_PROBLEMS]) + tail


Scores = Mapping[str, MethodScore]
"""Method label -> its score, of the methods of one table."""


def rankings(board: Board) -> dict[Table, Scores]:
    """The scores of every table of a board."""
    return {table: score_board(board, table) for table in tables_of(board)}


def score_board(board: Board, table: Table = BY_ATTRIBUTION) -> dict[str, MethodScore]:
    """Score and rank of each method of a table, in the order of the board."""
    methods = {m.label: m for m in board.methods if table.holds(m)}
    scores = {label: _score(board, method, table) for label, method in methods.items()}
    placed = {label: m for label, m in methods.items() if scores[label].placed}
    if not placed:
        return scores
    copies = {
        tier: min(scores[label].tiers[tier].by_copy.size for label in placed)
        for tier in tiers_of(board, table)
    }
    standings = {
        label: stats.Standing(
            scores[label].seeds,
            {tier: _sample(part, copies[tier]) for tier, part in scores[label].tiers.items()},
            method.trains,
        )
        for label, method in placed.items()
    }
    ranked = stats.ranks(standings)
    return {
        label: _placed(score, ranked[label]) if label in ranked else score
        for label, score in scores.items()
    }


def _sample(part: TierScore, copies: int) -> stats.Sample:
    return stats.Sample(part.by_copy[:copies], part.images)


def _placed(score: MethodScore, found: stats.Rank) -> MethodScore:
    if found.rank is None:
        return replace(score, unranked=found.reason)
    rule = "t over trainings and copies"
    ends = {"low": found.low, "high": found.high, "rule": rule}
    return replace(score, rank=found.rank, ties=found.ties, **ends)  # type: ignore[arg-type]


# -- one method --------------------------------------------------------------------------------


def _score(board: Board, method: MethodInfo, table: Table) -> MethodScore:
    problems = _method_problems(board, method, table)
    if problems:
        return MethodScore(problems=tuple(problems))
    parts: list[dict[str, TierScore]] = []
    for seed in board.seeds_of(method.label):
        found, missing = score_tiers(Curves(board, method.label, seed, table))
        parts.append(found)
        problems += missing
    problems += _missing_attacks(board)
    if not tiers_of(board, table):
        problems.append("the suite holds no attack that has a part in the score")
    if problems:
        return MethodScore(problems=tuple(dict.fromkeys(problems)))
    tiers = {tier: _over_seeds([part[tier] for part in parts]) for tier in tiers_of(board, table)}
    seeds = tuple(float(np.mean([part[tier].value for tier in tiers])) for part in parts)
    interval = _of_this_training(list(tiers.values()))
    trainings = "this training" if len(seeds) == 1 else "these trainings"
    return MethodScore(
        float(np.mean(seeds)),
        interval.low,
        interval.high,
        f"{interval.rule} over tiers of {trainings}",
        seeds,
        tiers,
        price_of_removal(board, method.label, table),
        (*_unconverged(board, method), *_other_users(board, method, table)),
    )


def _over_seeds(parts: Sequence[TierScore]) -> TierScore:
    copies = min(part.by_copy.size for part in parts)
    by_copy = np.mean([part.by_copy[:copies] for part in parts], axis=0)
    worst = min(parts, key=lambda part: part.value)
    stand_in = next((part.stand_in for part in parts if part.stand_in), "")
    return TierScore(
        float(by_copy.mean()), by_copy, min(p.images for p in parts), worst.worst, stand_in
    )


def _of_this_training(parts: Sequence[TierScore]) -> stats.Interval:
    return stats.mover([part.interval for part in parts], _correlations(parts))


def _correlations(parts: Sequence[TierScore]) -> np.ndarray:
    """(F, F) correlations of the tiers over copies, never below 0; 1 where copies do not differ.

    Tiers share attacks and copies, so they are not independent.
    """
    found = np.ones((len(parts), len(parts)))
    for i, one in enumerate(parts):
        for j, other in enumerate(parts[:i]):
            count = min(one.by_copy.size, other.by_copy.size)
            a, b = one.by_copy[:count], other.by_copy[:count]
            if np.ptp(a) > 0 and np.ptp(b) > 0:
                found[i, j] = found[j, i] = max(float(np.corrcoef(a, b)[0, 1]), 0.0)
    return found


def _method_problems(board: Board, method: MethodInfo, table: Table) -> list[str]:
    if method.unavailable:
        return [f"unavailable: {method.unavailable}"]
    if whole := board.old_score or board.mixed_versions(table.metric):
        return [whole]
    clean = board.number(method.label, NONE, table.metric)
    if not clean.done:
        return [f"{clean.outcome.replace('-', ' ')}: {clean.reason}"]
    if not clean.by_copy:
        return ["the untouched right-rate of a copy is not a number"]
    return []


def _missing_attacks(board: Board) -> list[str]:
    return [
        f"attack {attack.label}: {attack.unavailable or 'no record of it'}"
        for attack in board.attacks
        if attack.kind == "unknown"
    ]


def _other_users(board: Board, method: MethodInfo, table: Table) -> list[str]:
    """Why a right-rate is of another question than that of the suite: scores know their own N."""
    asked = board.number(method.label, NONE, table.metric).detail.get("registered")
    if table.metric != ATTRIBUTION or asked is None or asked == board.registered:
        return []
    return [
        f"its scores tell {asked:,} registered users apart, and the suite asks for "
        f"{show.count(board.registered)}"
    ]


def _unconverged(board: Board, method: MethodInfo) -> list[str]:
    found = []
    seeds = board.seeds_of(method.label)
    metric, variant, words = GATES[method.gives]
    for seed in seeds:
        accuracy = board.at_seed(method.label, seed, NONE, metric, variant)
        if accuracy.done and accuracy.detail.get("converged") is False:
            which = f" (training seed {seed})" if len(seeds) > 1 else ""
            why = accuracy.detail.get("unconverged") or (
                f"clean {words} {accuracy.value:.3f} is below its gate "
                f"{_gate(accuracy.detail.get('gate'))}"
            )
            found.append(f"did not converge{which}: {why}")
        elif not accuracy.done:
            found.append(f"clean {words} is {accuracy.outcome}: {accuracy.reason}")
    return found


def _gate(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else "(which is no number)"


# -- what removal takes ------------------------------------------------------------------------


def price_of_removal(board: Board, method: str, table: Table = BY_ATTRIBUTION) -> Candidate | None:
    """The cheapest attack within the budgets that brings the rate under one half; None if none.

    Cheapest by what must be held (samples, a copy, means to train; then how many accesses), then by
    steps of training, then by clean samples, then by damage.
    """
    curves = Curves(board, method, None, table)
    clean = np.array(curves.rate(NONE).by_copy)
    if not clean.size:
        return None
    removing = [
        candidate
        for tier in tiers_of(board, table)
        if tier != "processing"
        for candidate in candidates(curves, points_in(board, tier), tier, clean)
        if candidate.value < REMOVED_BELOW
    ]
    return min(removing, key=_price, default=None)


def _price(candidate: Candidate) -> tuple[int, int, int, int, float]:
    return (
        TIERS.index(candidate.tier),
        len(candidate.access),
        candidate.steps,
        candidate.clean,
        candidate.damage or 0.0,
    )

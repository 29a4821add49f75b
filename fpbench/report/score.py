"""The score of a method, its worst case, and the ranks that follow (`design.md` section 5).

A score is the mean over attack families, equally weighted, of the open-set right-rate at the scored
strengths. Nothing that is missing is counted as 0 or left out: it makes the method unranked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fpbench import stats
from fpbench.report.tables import NONE, Board, MethodInfo, Number, PointInfo

ATTRIBUTION = "attribution"
NOT_REMOVED = "not removed within the budget"
DOES_NOT_APPLY = "no such attack on this method"
_SHOWN_PROBLEMS = 3

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FamilyScore:
    """A method's right-rate in one family.

    Attributes:
        value: mean over training seeds, copies and scored points.
        by_copy: (n_f,) mean over training seeds and scored points.
        points: labels of the scored points; several seeds may score different ones.
        stand_in: why the clean rate stands in, in at least one training: `NOT_REMOVED`, no strength
            is within the damage budget, or `DOES_NOT_APPLY`; empty where it does not.
    """

    value: float
    by_copy: Floats
    points: tuple[str, ...]
    stand_in: str = ""


@dataclass(frozen=True)
class MethodScore:
    """A method's score or why it has none.

    Attributes:
        value: None where a family is missing or N is not supported.
        low: lower end of the interval, None where it cannot be known.
        high: upper end.
        rule: how the interval was made.
        seeds: the score of each training seed.
        families: family -> its part.
        worst: label of the scored point with the lowest right-rate, and that rate.
        worst_others: scored points with the same rate.
        problems: why it is not ranked; empty if it is.
        rank: shared by ties.
        ties: methods that are not significantly different.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    rule: str = ""
    seeds: tuple[float, ...] = ()
    families: Mapping[str, FamilyScore] = field(default_factory=dict)
    worst: tuple[str, float] | None = None
    worst_others: int = 0
    problems: tuple[str, ...] = ()
    rank: int | None = None
    ties: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why it is not ranked, in one line."""
        more = len(self.problems) - _SHOWN_PROBLEMS
        tail = f"; and {more} more" if more > 0 else ""
        return "; ".join(self.problems[:_SHOWN_PROBLEMS]) + tail


def score_board(board: Board) -> dict[str, MethodScore]:
    """Method label -> its score and rank, in the order of the board."""
    copies = _shared_copies(board)
    scores = {method.label: _score(board, method, copies) for method in board.methods}
    rankable = {
        label: {family: part.by_copy for family, part in score.families.items()}
        for label, score in scores.items()
        if not score.problems
    }
    if not rankable:
        return scores
    ranked = stats.ranks(rankable)
    return {
        label: replace(score, rank=ranked[label].rank, ties=ranked[label].ties)
        if label in ranked
        else score
        for label, score in scores.items()
    }


def within_budget(board: Board, method: str, seed: int, point: PointInfo) -> bool | None:
    """Whether a model attack leaves usable images; None where its damage is not known."""
    ratio = _distance_ratio(board.distance_at(method, seed, point.label))
    return None if ratio is None else ratio <= board.budget


# -- one method --------------------------------------------------------------------------------


def _score(board: Board, method: MethodInfo, copies: Mapping[str, int]) -> MethodScore:
    problems = _method_problems(board, method)
    if problems:
        return MethodScore(problems=tuple(problems))
    parts: dict[str, list[FamilyScore]] = {}
    for seed in board.seeds:
        for family, points in board.families().items():
            part = _family(board, method.label, seed, points, copies.get(family, 0))
            if isinstance(part, FamilyScore):
                parts.setdefault(family, []).append(part)
            else:
                problems += part
    problems += _missing_attacks(board)
    if not board.families():
        problems.append("the suite holds no attack")
    if problems:
        return MethodScore(problems=tuple(dict.fromkeys(problems)))
    families = {family: _over_seeds(found) for family, found in parts.items() if found[0].points}
    if not families:
        return MethodScore(problems=("no strength is scored",))
    value = float(np.mean([part.value for part in families.values()]))
    low, high, rule = _interval(families)
    seeds = tuple(
        float(np.mean([parts[family][i].value for family in families]))
        for i in range(len(board.seeds))
    )
    return MethodScore(
        value, low, high, rule, seeds, families, *_worst(board, method.label, families),
        problems=tuple(_unconverged(board, method.label)),
    )  # fmt: skip


def _method_problems(board: Board, method: MethodInfo) -> list[str]:
    if method.unavailable:
        return [f"unavailable: {method.unavailable}"]
    if board.mixed_versions:
        return [board.mixed_versions]
    clean = board.number(method.label, NONE, ATTRIBUTION)
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


def _unconverged(board: Board, method: str) -> list[str]:
    found = []
    for seed in board.seeds:
        accuracy = board.at_seed(method, seed, NONE, "bit-accuracy")
        if accuracy.done and accuracy.detail.get("converged") is False:
            which = f" (training seed {seed})" if len(board.seeds) > 1 else ""
            found.append(
                f"did not converge{which}: clean bit accuracy {accuracy.value:.3f} is below its "
                f"gate {accuracy.detail.get('gate', float('nan')):g}"
            )
        elif not accuracy.done:
            found.append(f"clean bit accuracy is {accuracy.outcome}: {accuracy.reason}")
    return found


# -- one family --------------------------------------------------------------------------------


def _family(
    board: Board, method: str, seed: int, points: Sequence[PointInfo], copies: int
) -> FamilyScore | list[str]:
    """A family's part at one training seed, or why there is none."""
    scored, problems = _scored_points(board, method, seed, points)
    rates = {p.label: board.at_seed(method, seed, p.label, ATTRIBUTION) for p in scored}
    for label, rate in rates.items():
        if not _usable(rate):
            problems.append(_problem(label, rate))
    if problems:
        return problems
    if scored:
        # Attacks of a family share its vote, however many strengths each has.
        attacks = dict.fromkeys(p.attack for p in scored)
        by_attack = [
            np.mean([rates[p.label].by_copy[:copies] for p in scored if p.attack == a], axis=0)
            for a in attacks
        ]
        by_copy = np.mean(by_attack, axis=0)
        return FamilyScore(float(by_copy.mean()), by_copy, tuple(rates))
    # Asked of the points alone, so that no method has a family that another one lacks.
    if not any(p.kind == "model" or p.scored for p in points):
        return FamilyScore(0.0, np.zeros(0), ())
    meant = any(
        p.kind == "model" and _applies(board.at_seed(method, seed, p.label, ATTRIBUTION))
        for p in points
    )
    clean = np.array(board.at_seed(method, seed, NONE, ATTRIBUTION).by_copy[:copies])
    stand_in = NOT_REMOVED if meant else DOES_NOT_APPLY
    return FamilyScore(float(clean.mean()), clean, (NONE,), stand_in)


def _scored_points(
    board: Board, method: str, seed: int, points: Sequence[PointInfo]
) -> tuple[list[PointInfo], list[str]]:
    scored, problems = [], []
    for point in points:
        if not _applies(board.at_seed(method, seed, point.label, ATTRIBUTION)):
            continue
        if point.kind == "image":
            if point.scored:
                scored.append(point)
            continue
        within = within_budget(board, method, seed, point)
        if within is None:
            number = board.distance_at(method, seed, point.label)
            problems.append(_problem(point.label, number))
        elif within:
            scored.append(point)
    return scored, problems


def _applies(number: Number) -> bool:
    """False where the attack itself has no meaning for the method; a method's own refusal counts.

    Else a method could refuse what hurts it and be ranked as if it had survived.
    """
    return number.outcome != "refused" or number.detail.get("refused_by") != "attack"


def _problem(label: str, number: Number) -> str:
    reason = number.reason or "its damage or a copy's rate is not a number"
    return f"{label} {'incomplete' if number.done else number.outcome}: {reason}"


def _usable(number: Number) -> bool:
    return number.done and len(number.by_copy) > 0


def _distance_ratio(number: Number) -> float | None:
    ratio = number.detail.get("ratio_to_untouched") if number.done else None
    return float(ratio) if isinstance(ratio, int | float) else None


def _over_seeds(parts: Sequence[FamilyScore]) -> FamilyScore:
    by_copy = np.mean([part.by_copy for part in parts], axis=0)
    return FamilyScore(
        float(by_copy.mean()),
        by_copy,
        tuple(dict.fromkeys(label for part in parts for label in part.points)),
        next((part.stand_in for part in parts if part.stand_in), ""),
    )


def _shared_copies(board: Board) -> dict[str, int]:
    """Family -> copies 0 … n_f - 1 that all its methods and points have, since ranks are paired."""
    shared = {}
    for family, points in board.families().items():
        counts = [
            len(rate.by_copy)
            for method in board.methods
            for point in points
            if _usable(rate := board.number(method.label, point.label, ATTRIBUTION))
        ]
        shared[family] = min(counts, default=0)
    return shared


# -- over families -----------------------------------------------------------------------------


def _interval(families: Mapping[str, FamilyScore]) -> tuple[float | None, float | None, str]:
    rates = {family: part.by_copy for family, part in families.items()}
    against_zero = stats.compare(rates, {f: np.zeros_like(v) for f, v in rates.items()})
    if against_zero.df == 0:
        return None, None, "no family has two copies"
    if np.isinf(against_zero.df) or all(np.ptp(v) == 0 for v in rates.values()):
        # No copy differs from another: the families' own limits, as if they failed together.
        own = [stats.rate(v, np.ones(v.size)) for v in rates.values()]
        low, high = np.mean([i.low for i in own]), np.mean([i.high for i in own])
        return float(low), float(high), "mean of the families' exact limits (all copies alike)"
    return (
        max(against_zero.low, 0.0),
        min(against_zero.high, 1.0),
        "paired over copies, as the ranks",
    )


def _worst(
    board: Board, method: str, families: Mapping[str, FamilyScore]
) -> tuple[tuple[str, float] | None, int]:
    rates = [
        (rate.value, label)
        for part in families.values()
        for label in part.points
        if (rate := board.number(method, label, ATTRIBUTION)).value is not None
    ]
    if not rates:
        return None, 0
    value, label = min(rates, key=lambda pair: pair[0])
    return (label, value), len({other for rate, other in rates if rate == value}) - 1

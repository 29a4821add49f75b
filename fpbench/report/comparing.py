"""Two methods side by side, of one run or of two: differences, intervals and p values.

Copies pair by index where both methods met the same users, latents and attack draws. Otherwise the
copies are two independent samples, and nothing is gained from their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fpbench import stats
from fpbench.api import SpecError
from fpbench.report.rankings import ATTRIBUTION, TABLES, Table, home, tables_of
from fpbench.report.score import MethodScore, score_board
from fpbench.report.show import WORDS
from fpbench.report.sides import (
    Side,
    attack_of,
    check_metric,
    notes_on,
    parting,
    populations,
    rules,
    same_run,
    shared_points,
    unpaired_because,
)
from fpbench.report.tables import Number

Floats = NDArray[np.float64]
Values = Mapping[str, stats.Sample]
"""Tier -> its values by copy; a single point is one part."""


@dataclass(frozen=True)
class Line:
    """A and B at one point, or their scores.

    Attributes:
        label: of the point; "score" for the score.
        a: value of A, None if there is none.
        b: value of B.
        result: difference A - B, its interval and p; None where the two are not compared.
        adjusted: p after Holm over all points; None for the score and where there is no test.
        copies: of A, of B; the fewest and the most where tiers differ.
        paired: whether copies pair by index.
        reason: why there is no value or no test; empty if there is one.
    """

    label: str
    a: float | None
    b: float | None
    result: stats.Comparison | None = None
    adjusted: float | None = None
    copies: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    paired: bool = True
    reason: str = ""


@dataclass(frozen=True)
class Versus:
    """A comparison of two methods.

    Attributes:
        a: first method.
        b: second method.
        metric: name.
        variant: which of its numbers.
        level: confidence level of the intervals.
        unpaired: why copies do not pair by index; empty if they do.
        notes: what else a reader must know.
        score: comparison of the scores; None unless asked.
        lines: the points, in the order of A's suite.
    """

    a: Side
    b: Side
    metric: str
    variant: str
    level: float
    unpaired: str
    notes: tuple[str, ...]
    score: Line | None
    lines: tuple[Line, ...]


def compare_sides(
    a: Side,
    b: Side,
    metric: str = ATTRIBUTION,
    variant: str = "",
    points: Sequence[str] = (),
    level: float = 0.95,
) -> Versus:
    """Compare two methods at the points that both have, and their scores.

    Args:
        a: first method.
        b: second method.
        metric: its name.
        variant: which of its numbers.
        points: labels; all that both have if empty, with the score if the metric ranks methods.
        level: confidence level in (0, 1).

    Raises:
        SpecError: metric, variant or a point is unknown, or the two measured different quantities.
    """
    if same_run(a, b) and a.method == b.method:
        raise SpecError([f"compare: expected two methods, got {a.name} twice"])
    check_metric(a, b, metric, variant)
    unpaired = unpaired_because(a, b)
    shared = shared_points(a, b, metric, variant, points)
    lines = [_line(a, b, metric, variant, p, level, not unpaired) for p in shared]
    score = None
    if not points and not variant and metric in _ranked_by(a, b):
        score = _score_line(a, b, metric, level, not unpaired)
    return Versus(
        a, b, metric, variant, level, unpaired, tuple(notes_on(a, b, points)), score,
        tuple(_adjusted(lines)),
    )  # fmt: skip


def _line(
    a: Side, b: Side, metric: str, variant: str, point: str, level: float, pair: bool
) -> Line:
    one, other = (s.board.number(s.method, point, metric, variant) for s in (a, b))
    line = Line(point, one.value, other.value)
    if not (one.done and other.done):
        return replace(line, reason=_reason(_why_not(one), _why_not(other)))
    if difference := parting(attack_of(a, point), attack_of(b, point)):
        return replace(line, reason=f"not the same attack: {difference}")
    if metric == ATTRIBUTION and (difference := _users(one, other)):
        return replace(line, reason=difference)
    first, second = np.array(one.by_copy), np.array(other.by_copy)
    if not (first.size and second.size):
        return replace(line, reason=f"{metric} has no values by copy to compare")
    sizes = ((first.size, first.size), (second.size, second.size))
    if (fewest := min(first.size, second.size)) < stats.LEAST_COPIES:
        few = f"{fewest} copies: fewer than {stats.LEAST_COPIES} decide nothing"
        return replace(line, copies=sizes, reason=few)
    if one.value != other.value and (uncounted := _uncounted(one, other)):
        return replace(line, reason=uncounted)
    # An attack may have its own numbers of copies and images.
    pair = pair and (one.clusters, one.n) == (other.clusters, other.n)
    result = _test(
        {point: _sample(first, one)}, {point: _sample(second, other)}, level, paired=pair
    )
    return replace(line, result=result, copies=sizes, paired=pair)


def _users(a: Number, b: Number) -> str:
    """Why two right-rates answer different questions; empty if they do not."""
    one, other = (number.detail.get("registered") for number in (a, b))
    return "" if one == other else f"asked among {one} users for A and among {other} for B"


def _why_not(number: Number) -> str:
    word = WORDS.get(number.outcome, number.outcome)
    return "" if number.done else f"{word}: {' '.join(number.reason.split())}"


def _reason(a: str, b: str) -> str:
    if a == b:
        return f"both {a}"
    return "; ".join(f"{which} {why}" for which, why in (("A", a), ("B", b)) if why)


def _uncounted(a: Number, b: Number) -> str:
    """Why two rates that differ are not tested; empty if they are.

    Exact distractors take a millionth from an image that is right. Copies agree on such fractions,
    so a test would find them significant, while the images that do fail have not been drawn.
    `stats.rate` takes rates of this kind as without variance for the same reason.
    """
    if any(number.rule != stats.RATE_RULE for number in (a, b)):
        return ""
    for word, share in (("right", 0.0), ("wrong", 1.0)):
        if all(abs((n.value or 0.0) - share) * n.n < 1 - 1e-9 for n in (a, b)):
            return f"on both sides less than one of {min(a.n, b.n):,} images is {word}"
    return ""


def _ranked_by(a: Side, b: Side) -> set[str]:
    """The metrics that either board ranks methods by."""
    return {table.metric for side in (a, b) for table in tables_of(side.board)}


def _tables(a: Side, b: Side, metric: str) -> list[Table]:
    """The tables of a metric that hold both methods."""
    both = [side.board.by_label[side.method] for side in (a, b)]
    return [t for t in TABLES if t.metric == metric and all(map(t.holds, both))]


def _score_line(a: Side, b: Side, metric: str, level: float, pair: bool) -> Line:
    tables = _tables(a, b, metric)
    if not tables:
        words = [home(side.board.by_label[side.method]).words for side in (a, b)]
        where = f"both stand in {words[0]}" if words[0] == words[1] else " and ".join(words)
        return Line("score", None, None, reason=f"no table by {metric} holds both: {where}")
    one, other = (score_board(s.board, tables[0])[s.method] for s in (a, b))
    line = Line("score", one.value, other.value)
    if difference := parting(*rules(a, b)):
        return replace(line, reason=f"the runs score different things: {difference}")
    if one.problems or other.problems:
        reasons = [s.reason and f"no place: {s.reason}" for s in (one, other)]
        return replace(line, reason=_reason(*reasons))
    if odd := one.tiers.keys() ^ other.tiers.keys():
        return replace(line, reason=f"only one of them has the tiers {', '.join(sorted(odd))}")
    first, second = _by_copy(one), _by_copy(other)
    pair = pair and populations(a) == populations(b)
    pair = pair and all(first[t].values.size == second[t].values.size for t in first)
    result = _test(first, second, level, paired=pair)
    return replace(line, result=result, copies=(_sizes(first), _sizes(second)), paired=pair)


def _by_copy(score: MethodScore) -> Values:
    return {tier: stats.Sample(part.by_copy, part.images) for tier, part in score.tiers.items()}


def _sizes(values: Values) -> tuple[int, int]:
    sizes = [sample.values.size for sample in values.values()]
    return min(sizes), max(sizes)


def _sample(by_copy: Floats, number: Number) -> stats.Sample:
    """The values of a point, with the images behind each where they are rates."""
    rates = number.rule == stats.RATE_RULE and number.clusters > 0
    return stats.Sample(by_copy, number.n // number.clusters if rates else None)


def _adjusted(lines: Sequence[Line]) -> Iterable[Line]:
    p_values = iter(stats.holm([line.result.p for line in lines if line.result is not None]))
    for line in lines:
        yield line if line.result is None else replace(line, adjusted=float(next(p_values)))


def _test(a: Values, b: Values, level: float, *, paired: bool) -> stats.Comparison:
    """As the board compares copies; unpaired by Welch on the two scores' own variances."""
    return (stats.compare if paired else stats.compare_independent)(a, b, level)

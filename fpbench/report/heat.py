"""The heat map: every method under every point, with the damage beside each number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fpbench.report import show
from fpbench.report.score import ATTRIBUTION, within_budget
from fpbench.report.show import Notes, Shown
from fpbench.report.tables import (
    DONE,
    NONE,
    AttackInfo,
    Board,
    MethodInfo,
    Number,
    PointInfo,
)

_LEVELS = 10


@dataclass(frozen=True)
class HeatCell:
    """One cell.

    Attributes:
        shown: number and damage, or the outcome.
        note: number of the note that says why; 0 for none.
        mark: "scored", "over budget", "damage unknown", or "" where none applies.
    """

    shown: Shown
    note: int
    mark: str


@dataclass(frozen=True)
class HeatGroup:
    """The points of one attack; a heading without rows where the attack is unavailable."""

    title: str
    sub: str
    link: str
    rows: Sequence[tuple[PointInfo, Sequence[HeatCell]]]
    reason: str = ""


@dataclass(frozen=True)
class HeatMap:
    """All groups, and the notes that explain cells without a number."""

    methods: Sequence[MethodInfo]
    groups: Sequence[HeatGroup]
    notes: Sequence[tuple[int, str, str]]


def heat_map(board: Board) -> HeatMap:
    """The map, one column for each method."""
    notes = Notes()
    untouched = [point for point in board.points if point.label == NONE]
    groups = [
        HeatGroup("untouched", "", "", _rows(board, untouched, notes)),
        *(
            HeatGroup(
                attack.label,
                _sub(attack),
                f"attacks/{attack.slug}.html",
                _rows(board, attack.points, notes),
                attack.unavailable,
            )
            for attack in board.tracing_attacks
        ),
    ]
    return HeatMap(board.methods, groups, notes.listed())


def damage(board: Board, method: str, point: PointInfo) -> str:
    """What the point does to the images, short."""
    if point.kind in ("model", "cross", "coalition"):
        number = board.distance(method, point.label)
        return show.ratio(number.detail.get("ratio_to_untouched")) if number.done else ""
    number = board.number(method, point.label, "damage", "psnr")
    return f"{show.decibel(number.value)} dB" if number.done else ""


def point_mark(board: Board, method: str, point: PointInfo) -> str:
    """Whether a point counts in the score: "scored", "over budget", "damage unknown" or ""."""
    if point.kind == "image":
        return "scored" if point.scored else ""
    if point.kind != "model":
        return ""
    within = [within_budget(board, method, seed, point) for seed in board.seeds]
    if None in within:
        return "damage unknown"
    return "scored" if any(within) else "over budget"


def _rows(
    board: Board, points: Sequence[PointInfo], notes: Notes
) -> list[tuple[PointInfo, list[HeatCell]]]:
    return [
        (point, [_cell(board, method, point, notes) for method in board.methods])
        for point in points
    ]


def _cell(board: Board, method: MethodInfo, point: PointInfo, notes: Notes) -> HeatCell:
    number = board.number(method.label, point.label, ATTRIBUTION)
    if not number.done:
        shown = replace(show.missing(number), sub=_bits(board, method.label, point))
        return HeatCell(shown, notes.number(shown), "")
    beside = damage(board, method.label, point)
    shown = show.cell(number, show.share(number.value), beside)
    shown = replace(shown, css=f"heat-{_level(number)}")
    return HeatCell(shown, 0, point_mark(board, method.label, point))


def _bits(board: Board, method: str, point: PointInfo) -> str:
    # Where no N is supported the bits still say whether something is read.
    number = board.number(method, point.label, "bit-accuracy")
    return f"bits {show.share(number.value)}" if number.outcome == DONE else ""


def _level(number: Number) -> int:
    return round(min(max(number.value or 0.0, 0.0), 1.0) * _LEVELS)


def _sub(attack: AttackInfo) -> str:
    kind = {"image": "image attack", "model": "model attack", "cross": "model, then image attack"}
    parts = [kind.get(attack.kind, ""), attack.family, attack.knob]
    return " · ".join(part for part in parts if part)

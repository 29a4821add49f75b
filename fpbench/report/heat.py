"""The heat maps: every method under every point, with the damage beside each number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fpbench.report import show
from fpbench.report.rankings import BY_ATTRIBUTION, Table
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
from fpbench.report.tiers import Curves, counted, points_in

MARKS = {"scored": "●", "over budget": "✕", "no effect": "=", "damage unknown": "?"}
"""What part a point has in the score -> its sign; all others have none."""
_LEVELS = 10


@dataclass(frozen=True)
class HeatCell:
    """One cell.

    Attributes:
        shown: number and damage, or the outcome.
        note: number of the note that says why; 0 for none.
        mark: see `point_mark`.
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
    """Attacks on images and on models, side by side, and why cells lack a number."""

    table: Table
    methods: Sequence[MethodInfo]
    parts: Sequence[tuple[str, Sequence[HeatGroup]]]
    notes: Sequence[tuple[int, str, str]]


def heat_map(board: Board, table: Table = BY_ATTRIBUTION) -> HeatMap:
    """The map, one column for each method of a table."""
    notes, methods = Notes(), [method for method in board.methods if table.holds(method)]

    def rows(points: Sequence[PointInfo]) -> list[tuple[PointInfo, list[HeatCell]]]:
        return [(p, [_cell(board, table, m, p, notes) for m in methods]) for p in points]

    untouched = [point for point in board.points if point.label == NONE]
    groups = {
        attack.label: HeatGroup(
            attack.label,
            _sub(attack),
            f"attacks/{attack.slug}.html",
            rows(attack.points),
            attack.unavailable,
        )
        for attack in board.tracing_attacks
    }
    images = [groups[a.label] for a in board.tracing_attacks if a.kind == "image"]
    others = [groups[a.label] for a in board.tracing_attacks if a.kind != "image"]
    first = HeatGroup("untouched", "", "", rows(untouched))
    parts = [("Attacks on images", [first, *images]), ("Attacks on the model", others)]
    if "samples" not in table.tiers:
        parts = [("Attacks on the model", [first, *others])]
    return HeatMap(table, methods, [part for part in parts if part[1]], notes.listed())


def damage(board: Board, method: str, point: PointInfo) -> str:
    """What the point does to the images, short, in the unit of its budget."""
    if point.kind == "coalition":
        number = board.distance(method, point.label)
        return show.ratio(number.detail.get("ratio_to_untouched")) if number.done else ""
    value = Curves(board, method, None).damage(point)
    return "" if value is None else f"D {show.damage(value)}"


def point_mark(board: Board, method: str, point: PointInfo, table: Table = BY_ATTRIBUTION) -> str:
    """What part a point has in the score.

    "scored"; "over budget" of damage; "damage unknown"; "no effect": the mark is as it was; "few
    copies" or "beyond means": it counts for nobody; "" where it has no part by kind.
    """
    if point.kind not in ("image", "model"):
        return ""
    number = board.number(method, point.label, table.metric)
    if number.effect == "none":
        return "no effect"
    tier = point.tier
    if tier and tier not in table.tiers:
        return ""
    attack = next(a for a in board.attacks if a.label == point.attack)
    if not counted(board, attack):
        return "few copies"
    if point not in points_in(board, tier).get(point.attack, []):
        named = point in points_in(board, "processing").get(point.attack, [])
        learns = point.kind == "model" or point.steps or point.clean
        return "scored" if named else "beyond means" if learns else ""
    if point.geometric:
        return "scored"
    value = Curves(board, method, None).damage(point)
    if value is None:
        return "damage unknown"
    budget = board.budgets.samples if point.kind == "image" else board.budgets.damage
    named = point.kind == "image" and point.scored  # counts as processing whatever its damage
    return "scored" if value <= budget or named else "over budget"


def _cell(
    board: Board, table: Table, method: MethodInfo, point: PointInfo, notes: Notes
) -> HeatCell:
    number = board.number(method.label, point.label, table.metric)
    if not number.done:
        shown = replace(show.missing(number), sub=_bits(board, method.label, point))
        return HeatCell(shown, notes.number(shown), "")
    beside = damage(board, method.label, point)
    shown = show.cell(number, show.share(number.value), beside)
    shown = replace(shown, css=f"heat-{_level(number)}")
    return HeatCell(shown, 0, point_mark(board, method.label, point, table))


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

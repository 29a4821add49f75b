"""Who is blamed: for the images of coalitions, and for forged ones. Shown beside the score.

The score asks whether an image is traced to the one user who made it. Here there are several, or
none, so the outcomes are other ones and no mean mixes them with the score's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fpbench.report import show
from fpbench.report.overview import Grid, grid
from fpbench.report.show import Notes, Shown
from fpbench.report.tables import Board, MethodInfo, Number, PointInfo

OUTCOMES = (
    ("traced", "traced"),
    ("traced-and-framed", "traced and framed"),
    ("framed", "framed"),
    ("lost", "lost"),
)
"""Variant of the records -> words."""


@dataclass(frozen=True)
class Bar:
    """The outcomes of one method's coalitions at one point.

    Attributes:
        method: whose copies.
        shown: the traced share with its interval, or why there is none.
        parts: (css class, words, share, x, width) of the bar's parts, x and width in percent.
        basis: coalitions × images.
        beside: what the merged copies' images are worth.
    """

    method: MethodInfo
    shown: Shown
    parts: Sequence[tuple[str, str, str, float, float]]
    basis: str
    beside: str


@dataclass(frozen=True)
class Coalitions:
    """All coalitions: point -> one bar for each method, and the notes of missing ones."""

    points: Sequence[tuple[PointInfo, str, Sequence[Bar]]]
    numbering: Notes
    notes: Sequence[tuple[int, str, str]]


def coalitions(board: Board, points: Sequence[PointInfo] | None = None) -> Coalitions:
    """The bars of the given points, of all coalitions by default."""
    if points is None:
        points = board.points_of("coalition")
    slugs = {attack.label: attack.slug for attack in board.attacks}
    listed = [
        (
            point,
            f"attacks/{slugs[point.attack]}.html" if point.attack in slugs else "",
            [_bar(board, method, point) for method in board.methods],
        )
        for point in points
    ]
    notes = Notes()
    for _, _, bars in listed:
        for bar in bars:
            if bar.shown.reason:
                notes.number(bar.shown)
    return Coalitions(listed, notes, notes.listed())


def _bar(board: Board, method: MethodInfo, point: PointInfo) -> Bar:
    numbers = [board.number(method.label, point.label, "collusion", key) for key, _ in OUTCOMES]
    first = numbers[0]
    shown = show.cell(first, show.share(first.value), show.interval(first))
    if not first.done:
        return Bar(method, shown, (), "–", "–")
    parts, x = [], 0.0
    for (key, words), number in zip(OUTCOMES, numbers, strict=True):
        width = 100 * (number.value or 0.0)
        parts.append((f"c-{key}", words, show.share(number.value), round(x, 3), round(width, 3)))
        x += width
    images = first.n / first.clusters if first.clusters else 0
    damage = board.distance(method.label, point.label)
    beside = show.ratio(damage.detail.get("ratio_to_untouched")) if damage.done else "–"
    return Bar(method, shown, parts, f"{first.clusters} × {images:g}", beside)


def forgeries(board: Board, points: Sequence[PointInfo] | None = None) -> Grid | None:
    """How often the victim is accused of forged images; None where nothing is forged."""
    if points is None:
        points = board.points_of("forgery")
    if not points:
        return None
    return grid(
        "Share of forged images that an innocent user is accused of (↓), its interval, and the "
        "share of his bits they carry",
        [method.label for method in board.methods],
        ((p.title, [_forged(board, m, p) for m in board.methods]) for p in points),
    )


def _forged(board: Board, method: MethodInfo, point: PointInfo) -> Shown:
    number = board.number(method.label, point.label, "forgery")
    match = board.number(method.label, point.label, "forgery", "match")
    bits = f"bits {show.share(match.value)}" if match.done else ""
    sub = "\n".join(filter(None, (show.interval(number) if number.done else "", bits)))
    return show.cell(number, show.share(number.value), sub)


def attack_costs(board: Board, points: Sequence[PointInfo]) -> list[tuple[str, str]]:
    """What the adversary spends: training steps, and seconds for each method."""
    facts = []
    steps = {}
    seconds: dict[str, list[str]] = {}
    for point in points:
        for method in board.methods:
            number = board.number(method.label, point.label, "attack-cost")
            if not number.done:
                continue
            steps[point.short] = int(number.detail.get("steps", 0))
            spent = number.cost.get("attack_s")
            seconds.setdefault(method.label, []).append(f"{point.short}: {show.seconds(spent)}")
    if any(steps.values()):
        facts.append(("Training steps spent", ", ".join(f"{k}: {v:,}" for k, v in steps.items())))
    facts += [
        (f"Seconds for each copy, weaker strengths included, {label}", ", ".join(values))
        for label, values in seconds.items()
    ]
    return facts


def sentences(board: Board) -> list[str]:
    """What the verdict says of coalitions and forgeries."""
    return [*_coalition_sentences(board), *_forgery_sentences(board)]


_TRACED = 0.9
"""Share of a coalition's images shown to lead to members and nobody else, for it to be traced."""
_FRAMED = 0.1
"""Share of images shown to be blamed on the innocent, from which that is said."""


def _coalition_sentences(board: Board) -> list[str]:
    """Said only where the bounds, not the estimates, carry it."""
    found: dict[str, list[str]] = {}
    traced, framing = [], []
    for method in board.methods:
        for point in board.points_of("coalition"):
            numbers = {
                key: board.number(method.label, point.label, "collusion", key)
                for key, _ in OUTCOMES
            }
            if not numbers["traced"].done:
                continue
            traced.append(numbers["traced"])
            if _low(numbers["traced"]) >= _TRACED:
                found.setdefault(method.label, []).append(point.label)
            blamed = [numbers["traced-and-framed"], numbers["framed"]]
            if max(map(_low, blamed)) >= _FRAMED:
                share = sum(number.value or 0.0 for number in blamed)
                framing.append((share, method.label, point.label))
    said = []
    if found:
        listed = "; ".join(f"{label} under {', '.join(labels)}" for label, labels in found.items())
        said.append(
            f"Coalitions are traced (at least {_TRACED:.0%} of their images lead to members and to "
            f"nobody else, 95 % bound): {listed}."
        )
    elif traced and all(_high(number) < _TRACED for number in traced):
        said.append(
            f"No coalition is traced: nowhere do {_TRACED:.0%} of its images lead to members only."
        )
    if framing:
        share, label, where = max(framing)
        said.append(
            f"Coalitions frame the innocent most with {label} under {where} "
            f"({show.share(share)} of images)."
        )
    return said


def _forgery_sentences(board: Board) -> list[str]:
    numbers = [
        (method.label, point.label, number)
        for method in board.methods
        for point in board.points_of("forgery")
        if (number := board.number(method.label, point.label, "forgery")).done
    ]
    blamed = [
        f"{method} under {point} ({show.share(number.value)})"
        for method, point, number in numbers
        if _low(number) >= _FRAMED
    ]
    if blamed:
        return [f"Forged images are blamed on an innocent user: {'; '.join(blamed)}."]
    if numbers and all(_high(number) < _FRAMED for _, _, number in numbers):
        return [f"No forgery is blamed on its victim in {_FRAMED:.0%} of images (95 % bound)."]
    return []


def _low(number: Number) -> float:
    """Lower limit of a share; of several trainings the least of them."""
    if len(number.seeds) > 1:
        return min(number.seeds)
    return 0.0 if number.low is None else number.low


def _high(number: Number) -> float:
    if len(number.seeds) > 1:
        return max(number.seeds)
    return 1.0 if number.high is None else number.high

"""How far marked images lie from unmarked ones: bits that agree with a code, as distributions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fpbench.report import charts, show
from fpbench.report.tables import NONE, Board, MethodInfo, PointInfo

SOURCES = ("copies", "real", "host")
_WORDS = {"copies": "own code", "real": "real images, any code", "host": "host images, any code"}


@dataclass(frozen=True)
class Distribution:
    """One chart with its numbers.

    Attributes:
        title: the point.
        svg: the chart.
        heads: sources.
        rows: (matching bits, share of each source) where any share is not 0.
    """

    title: str
    svg: str
    heads: Sequence[str]
    rows: Sequence[tuple[int, Sequence[str]]]


def distributions(board: Board, method: MethodInfo) -> list[Distribution]:
    """Of untouched images, and of each attack at its strongest scored strength."""
    points = [p for p in board.traced_points if p.label == NONE]
    points += [_shown(a.points) for a in board.tracing_attacks if a.points]
    found = (_distribution(board, method, point) for point in points)
    return [each for each in found if each is not None]


def _shown(points: Sequence[PointInfo]) -> PointInfo:
    scored = [point for point in points if point.scored]
    return (scored or points)[-1]


def _distribution(board: Board, method: MethodInfo, point: PointInfo) -> Distribution | None:
    numbers = {s: board.number(method.label, point.label, "matches", s) for s in SOURCES}
    done = {s: n for s, n in numbers.items() if n.done and sum(n.detail["counts"])}
    if "copies" not in done:
        return None
    shares = {s: _shares(n.detail["counts"]) for s, n in done.items()}
    threshold = done["copies"].detail.get("threshold_bits")
    bits = len(shares["copies"]) - 1
    words = charts.Text(
        f"matches-{point.slug}",
        f"{method.label}, {point.title}: bits that agree",
        f"Shares of images by the number of {bits} bits that agree with a code: "
        f"{', '.join(_WORDS[s] for s in shares)}; the numbers are in the table below.",
        x=f"bits of {bits} that agree",
        y="share",
    )
    css = {"copies": f"d-copies s{method.index % charts.COLOURS}"}
    items = [charts.Steps(css.get(s, f"d-{s}"), values) for s, values in shares.items()]
    svg = charts.steps(words, items, None if threshold is None else round(threshold))
    rows = [
        (place, [show.share(values[place]) for values in shares.values()])
        for place in range(bits + 1)
        if any(values[place] for values in shares.values())
    ]
    return Distribution(point.title, svg, [_WORDS[s] for s in shares], rows)


def _shares(counts: Iterable[float]) -> list[float]:
    listed = list(counts)
    total = sum(listed)
    return [count / total for count in listed]

"""Charts that stand in the page as SVG: colours and type come from its style sheet.

Every chart is small enough to be read on a phone, so that a page lays several side by side. A
method has one colour and one marker everywhere. Nothing here needs a script or a chart library
(`docs/decisions/0012`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from fpbench.report import svg
from fpbench.report.svg import LETTER, Scale

SHAPES = 8
"""Markers by method; `templates/macros.html.j2` defines them."""
COLOURS = 8
"""Colours by method: the style sheet's --series-0 and on."""
MOST_BANDS = 8
"""Methods up to which curves have bands; more of them would hide one another."""

_CROWDED = 34  # letters of tick labels that stand beside one another


@dataclass(frozen=True)
class Text:
    """Words of a chart: its identifier, title, description and axes."""

    name: str
    title: str
    description: str
    x: str = ""
    y: str = ""


@dataclass(frozen=True)
class Series:
    """One method's line.

    Attributes:
        index: of the method.
        values: one for each strength; None leaves a gap.
        low: lower ends of the band; empty for no band.
        high: upper ends.
        places: where its values stand, of `traded`.
    """

    index: int
    values: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    places: Sequence[float | None] = ()


@dataclass(frozen=True)
class Estimate:
    """One method's place in a plot of scores.

    Attributes:
        label: of the method.
        index: of the method.
        score: centre.
        low: lower end.
        high: upper end.
        x: second coordinate, where the plot has one.
        seeds: score of each training seed.
        rank: as printed.
    """

    label: str
    index: int
    score: float
    low: float | None = None
    high: float | None = None
    x: float | None = None
    seeds: Sequence[float] = ()
    rank: str = ""


@dataclass(frozen=True)
class Difference:
    """One row of a plot of differences.

    Attributes:
        label: what is compared.
        value: the difference.
        low: lower end, None if unknown.
        high: upper end.
        sure: whether it is significant.
    """

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    sure: bool = False


@dataclass(frozen=True)
class Steps:
    """A distribution: one share for each of the equal steps of the axis.

    Attributes:
        css: class of its colour.
        values: shares, which add up to 1.
    """

    css: str
    values: Sequence[float]


def shape(index: int) -> int:
    """Marker of a method; every eight methods the pairing with colours moves on by one."""
    return (index + index // SHAPES) % SHAPES


def curve(
    text: Text,
    ticks: Sequence[str],
    series: Sequence[Series],
    *,
    limits: tuple[float, float] | None = None,
    level: float | None = None,
) -> str:
    """Lines over strengths, evenly spaced from untouched to strongest, with bands.

    Args:
        text: words.
        ticks: the strengths.
        series: one for each method.
        limits: of the vertical axis; None fits the values.
        level: a horizontal line, e.g. chance.
    """
    crowded = sum(map(len, ticks)) > _CROWDED
    box = _Box(270, 180, left=48, bottom=52 if crowded else 36)
    values = [v for s in series for v in (*s.values, *s.low, *s.high) if v is not None]
    y = box.up(*(limits or svg.span_of([*values, *([] if level is None else [level])])))
    x = Scale(-0.25, len(ticks) - 0.75, box.left, box.right)
    places = [x(place) for place in range(len(ticks))]
    parts = [box.rows(y), _names(places, ticks, box, crowded=crowded), box.words(text)]
    if level is not None:
        parts.append(svg.path(f"M{box.left} {svg.number(y(level))}H{box.right}", "level"))
    for item in series:
        band = _band(places, item, y) if len(series) <= MOST_BANDS else ""
        points = [
            None if v is None else (p, y(v)) for p, v in zip(places, item.values, strict=True)
        ]
        marks = [svg.mark(*point, shape(item.index)) for point in points if point is not None]
        parts.append(_series(item.index, [band, svg.path(svg.line(points), "line"), *marks]))
    return box.figure(text, parts)


def traded(
    text: Text,
    series: Sequence[Series],
    *,
    limits: tuple[float, float],
    level: float | None = None,
    budget: float | None = None,
) -> str:
    """Lines over what each point has cost, which differs from method to method.

    Args:
        text: words.
        series: one for each method, with `places`.
        limits: of the vertical axis.
        level: a horizontal line, e.g. chance.
        budget: a vertical one.
    """
    box = _Box(270, 180, left=48, bottom=36)
    pairs = [
        [(p, v) for p, v in zip(s.places, s.values, strict=True) if p is not None and v is not None]
        for s in series
    ]
    ends = [place for own in pairs for place, _ in own] + ([] if budget is None else [budget])
    x, y = Scale(*svg.span_of(ends), box.left, box.right), box.up(*limits)
    parts = [box.rows(y), box.columns(x), box.words(text)]
    if level is not None:
        parts.append(svg.path(f"M{box.left} {svg.number(y(level))}H{box.right}", "level"))
    if budget is not None:
        parts.append(svg.path(f"M{svg.number(x(budget))} {box.top}V{box.bottom}", "level"))
    for item, own in zip(series, pairs, strict=True):
        points = [(x(place), y(value)) for place, value in own]
        marks = [svg.mark(*point, shape(item.index)) for point in points]
        parts.append(_series(item.index, [svg.path(svg.line(points), "line"), *marks]))
    return box.figure(text, parts)


def trace(text: Text, steps: Sequence[int], values: Sequence[float | None], index: int) -> str:
    """One quantity over the steps of a training."""
    box = _Box(176, 108, left=38, bottom=30)
    y = box.up(*svg.span_of([v for v in values if v is not None]))
    x = Scale(steps[0], max(steps[-1], steps[0] + 1), box.left + 2, box.right - 6)
    points = [None if v is None else (x(s), y(v)) for s, v in zip(steps, values, strict=True)]
    names = [svg.text(box.left, box.bottom + 12, f"{steps[0]:,}")]
    if len(steps) > 1:
        names.append(svg.text(box.right, box.bottom + 12, f"{steps[-1]:,}", "end"))
    line = _series(index, [svg.path(svg.line(points), "line")])
    return box.figure(text, [box.rows(y, 3), *names, box.words(text), line])


def forest(text: Text, rows: Sequence[Estimate]) -> str:
    """Scores with intervals, best first."""
    labels = [textwrap.wrap(f"{row.rank}  {row.label}", 26) for row in rows]
    left = 16 + LETTER * max(len(line) for label in labels for line in label)
    tops, height = [], 8.0
    for label in labels:
        tops.append(height)
        height += 8 + 12 * len(label)
    box = _Box(max(360.0, left + 200), height + 34, left=left, bottom=34)
    x = Scale(0, 1, box.left + 4, box.right - 8)
    parts = [box.columns(x), box.words(text)]
    for row, label, top in zip(rows, labels, tops, strict=True):
        place = top + (8 + 12 * len(label)) / 2
        for number, line in enumerate(label):
            parts.append(svg.text(box.left - 8, top + 13 + 12 * number, line, "end name"))
        inner = []
        if row.low is not None and row.high is not None:
            inner.append(svg.path(svg.line([(x(row.low), place), (x(row.high), place)]), "line"))
        if len(row.seeds) > 1:
            seeds = "".join(f"M{svg.number(x(s))} {svg.number(place - 4)}v8" for s in row.seeds)
            inner.append(svg.path(seeds, "line"))
        inner.append(svg.mark(x(row.score), place, shape(row.index)))
        parts.append(_series(row.index, inner))
    return box.figure(text, parts)


def differences(text: Text, rows: Sequence[Difference]) -> str:
    """Differences with intervals around 0; those that are not significant are hollow."""
    left = 16 + LETTER * max(len(row.label) for row in rows)
    box = _Box(left + 280, 16 * len(rows) + 46, left=left, bottom=34)
    values = [v for r in rows for v in (r.value, r.low, r.high, 0.0) if v is not None]
    x = Scale(*svg.span_of(values), box.left, box.right)
    zero = svg.path(f"M{svg.number(x(0))} {box.top}V{svg.number(box.bottom)}", "level")
    parts = [box.columns(x), box.words(text), zero]
    for place, row in enumerate(rows):
        y = box.top + 12 + 16 * place
        parts.append(svg.text(box.left - 8, y + 3.5, row.label, "end name"))
        inner = []
        if row.low is not None and row.high is not None:
            inner.append(svg.path(svg.line([(x(row.low), y), (x(row.high), y)]), "line"))
        inner.append(svg.mark(x(row.value), y, 0))
        parts.append(svg.group(inner, "s s0" if row.sure else "s s0 hollow"))
    return box.figure(text, parts)


def plane(
    text: Text,
    points: Sequence[Estimate],
    frontier: Sequence[tuple[float, float]] = (),
    line: tuple[float, str] | None = None,
) -> str:
    """Quality against score; up and left is better.

    Args:
        text: words.
        points: with `x`.
        frontier: (x, score) of the methods that no other beats in both, left to right.
        line: a vertical level and what it is.
    """
    box = _Box(360, 240, left=42, bottom=36)
    values = [p.x for p in points if p.x is not None] + ([line[0]] if line else [])
    x = Scale(*svg.span_of(values, 0.12), box.left, box.right)
    y = box.up(0, 1)
    parts = [box.rows(y), box.columns(x), box.words(text)]
    if line is not None:
        parts.append(svg.path(f"M{svg.number(x(line[0]))} {box.top}V{box.bottom}", "level"))
        right = x(line[0]) < (box.left + box.right) / 2
        place = (x(line[0]) + 5, box.bottom - 5) if right else (x(line[0]) - 5, box.bottom - 5)
        parts.append(svg.text(*place, line[1], "" if right else "end"))
    if frontier:
        parts.append(svg.path(_stairs(frontier, x, y, box), "frontier"))
    for point in points:
        if point.x is None:
            continue
        inner = []
        if point.low is not None and point.high is not None:
            inner.append(
                svg.path(
                    svg.line([(x(point.x), y(point.low)), (x(point.x), y(point.high))]), "line"
                )
            )
        inner.append(svg.mark(x(point.x), y(point.score), shape(point.index)))
        parts.append(_series(point.index, inner))
    return box.figure(text, parts)


def bars(
    text: Text,
    values: Sequence[float],
    index: int,
    *,
    level: float | None = None,
    span: tuple[float, float] | None = None,
) -> str:
    """One bar for each bit, or for each of the equal steps that `span` is cut into."""
    box = _Box(340, 150, left=38, bottom=34)
    low, high = span or (0.5, len(values) + 0.5)
    x, y = Scale(low, high, box.left, box.right), box.up(0, max(0.55, *values))
    step = (high - low) / len(values)
    drawn = [
        svg.rect(x(low + (n + 0.1) * step), y(v), 0.8 * (x(step) - x(0)), box.bottom - y(v))
        for n, v in enumerate(values)
        if v > 0
    ]
    ticks = svg.ticks_of(*span) if span else _whole(1, len(values))
    names = [svg.text(x(t), box.bottom + 12, svg.tick_text(t), "middle") for t in ticks]
    parts = [box.rows(y), *names, box.words(text), _series(index, drawn)]
    if level is not None:
        parts.append(svg.path(f"M{box.left} {svg.number(y(level))}H{box.right}", "level"))
    return box.figure(text, parts)


def steps(text: Text, items: Sequence[Steps], threshold: int | None) -> str:
    """Distributions over 0 … K laid over one another, and the threshold."""
    box = _Box(420, 180, left=38, bottom=36)
    count = len(items[0].values)
    x = Scale(-0.5, count - 0.5, box.left, box.right)
    y = box.up(0, 1.05 * max(max(item.values) for item in items))
    names = [
        svg.text(x(t), box.bottom + 12, svg.tick_text(t), "middle") for t in _whole(0, count - 1)
    ]
    parts = [box.rows(y), *names, box.words(text)]
    for item in items:
        data, height = f"M{svg.number(x(-0.5))} {box.bottom}", svg.number(box.bottom)
        for bits, value in enumerate(item.values):
            if (reached := svg.number(y(value))) != height:
                height = reached
                data += f"H{svg.number(x(bits - 0.5))}V{height}"
        data += f"H{svg.number(x(count - 0.5))}V{box.bottom}"
        parts.append(svg.group([svg.path(data, "area")], item.css))
    if threshold is not None:
        place = x(threshold - 0.5)
        parts.append(svg.path(f"M{svg.number(place)} {box.top}V{box.bottom}", "level"))
        parts.append(svg.text(place - 4, box.top + 10, f"threshold {threshold}", "end muted"))
    return box.figure(text, parts)


# -- the frame ---------------------------------------------------------------------------------


class _Box:
    """A chart's size and the plot inside it."""

    def __init__(self, width: float, height: float, *, left: float, bottom: float) -> None:
        self.width, self.height = width, height
        self.left, self.right = left, width - 6
        self.top, self.bottom = 8, height - bottom

    def up(self, low: float, high: float) -> Scale:
        """The vertical scale."""
        return Scale(low, high, self.bottom, self.top)

    def rows(self, y: Scale, most: int = 6) -> str:
        """Horizontal grid lines with their numbers."""
        ticks = svg.ticks_of(y.low, y.high, most)
        lines = "".join(f"M{svg.number(self.left)} {svg.number(y(t))}H{self.right}" for t in ticks)
        words = [svg.text(self.left - 5, y(t) + 3.5, svg.tick_text(t), "end") for t in ticks]
        return svg.path(lines, "grid") + "".join(words)

    def columns(self, x: Scale) -> str:
        """Vertical grid lines with their numbers."""
        ticks = svg.ticks_of(x.low, x.high)
        lines = "".join(f"M{svg.number(x(t))} {self.top}V{svg.number(self.bottom)}" for t in ticks)
        words = [svg.text(x(t), self.bottom + 12, svg.tick_text(t), "middle") for t in ticks]
        return svg.path(lines, "grid") + "".join(words)

    def words(self, text: Text) -> str:
        """What the axes are."""
        below = svg.text((self.left + self.right) / 2, self.height - 4, text.x, "middle muted")
        beside = svg.text(9, (self.top + self.bottom) / 2, text.y, "middle muted", -90)
        return (below if text.x else "") + (beside if text.y else "")

    def figure(self, text: Text, parts: Sequence[str]) -> str:
        """The whole."""
        return svg.figure(self.width, self.height, text.name, text.title, text.description, parts)


def _series(index: int, parts: Sequence[str]) -> str:
    return svg.group(parts, f"s s{index % COLOURS} i{index}")


def _names(places: Sequence[float], ticks: Sequence[str], box: _Box, *, crowded: bool) -> str:
    y = box.bottom + 12
    if not crowded:
        return "".join(svg.text(p, y, t, "middle") for p, t in zip(places, ticks, strict=True))
    return "".join(svg.text(p + 3, y, t, "end", -38) for p, t in zip(places, ticks, strict=True))


def _band(places: Sequence[float], item: Series, y: Scale) -> str:
    if not item.low:
        return ""
    ends = [
        (p, y(low), y(high))
        for p, low, high in zip(places, item.low, item.high, strict=True)
        if low is not None and high is not None
    ]
    if len(ends) < 2:
        return ""
    around = [(p, low) for p, low, _ in ends] + [(p, high) for p, _, high in reversed(ends)]
    return svg.path(svg.line(around) + "Z", "band")


def _stairs(points: Sequence[tuple[float, float]], x: Scale, y: Scale, box: _Box) -> str:
    """The edge of what is reached: at each quality the best score so far."""
    data = f"M{svg.number(x(points[0][0]))} {svg.number(box.bottom)}"
    for place, score in points:
        data += f"H{svg.number(x(place))}V{svg.number(y(score))}"
    return f"{data}H{svg.number(box.right)}"


def _whole(low: int, high: int) -> list[float]:
    """Round whole numbers in [low, high]."""
    return [t for t in svg.ticks_of(low, high) if t == int(t)] if high > low else [low]

"""SVG charts that stand in the page: colours come from its style sheet, text from its font.

Every chart is small enough to be read on a phone and made of vectors, so that a page lays several
side by side. A method has one colour and one marker everywhere.
"""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from html import escape
from io import StringIO
from typing import Any, ParamSpec

P = ParamSpec("P")

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Shapes by method; `templates/macros.html.j2` draws the same ones in legends."""
COLOURS = 8
"""Colours by method: the style sheet's --series-0 and on."""
MOST_BANDS = 8
"""Methods up to which curves have bands; more of them would hide one another."""

_DPI = 72
_CROWDED = 34  # letters of tick labels that stand beside one another
# Stand-ins that matplotlib writes and that become the style sheet's colours.
_INK, _MUTED, _GRID = "#010101", "#020202", "#030303"
_NAMED = {_INK: "currentColor", _MUTED: "var(--muted)", _GRID: "var(--line)"}


_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label is a name, not a formula
    "font.size": 10,
    "axes.edgecolor": _GRID,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "text.color": _INK,
}
_CLEANUPS = (
    (r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", ""),
    (r'<g id="[^"]*"/>', ""),
    (r'<g id="[^"]*">', "<g>"),  # element names repeat from chart to chart
    (r" font-family: [^;]*;", ""),  # the page's font
    (r' transform="rotate\(-0 [^)]*\)"', ""),
    (r"xlink:href", "href"),
    (r"\s*\n\s*", "\n"),
)


def _styled(draw: Callable[P, str]) -> Callable[P, str]:
    """Draw with our settings, and salted with the chart's name.

    The salt makes identifiers the same in every build and different in every chart of a page.
    """

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> str:
        import matplotlib as mpl

        text = args[0]
        assert isinstance(text, Text)
        settings: Any = {**_STYLE, "svg.hashsalt": text.name}
        with mpl.rc_context(settings), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # letters the measuring font lacks are the browser's
            return draw(*args, **kwargs)

    return styled


@dataclass(frozen=True)
class Series:
    """One method's line.

    Attributes:
        label: of the method.
        index: of the method.
        values: one for each strength; None leaves a gap.
        low: lower ends of the band.
        high: upper ends.
    """

    label: str
    index: int
    values: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]


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
class Text:
    """Words of a chart: its identifier, title, description and axes."""

    name: str
    title: str
    description: str
    x: str = ""
    y: str = ""


def marker(index: int) -> str:
    """Marker of a method; every eight methods the pairing with colours moves on by one."""
    return MARKERS[(index + index // len(MARKERS)) % len(MARKERS)]


@_styled
def curve(
    text: Text,
    ticks: Sequence[str],
    series: Sequence[Series],
    *,
    limits: tuple[float, float] | None = None,
    line: float | None = None,
) -> str:
    """Lines over strengths, evenly spaced from untouched to strongest, with bands.

    Args:
        text: words.
        ticks: the strengths.
        series: one for each method.
        limits: of the vertical axis; None fits the values.
        line: a level to mark, e.g. chance.
    """
    crowded = sum(map(len, ticks)) > _CROWDED
    figure, axes = _axes(3.6, 2.5, (0.15, 0.31 if crowded else 0.2))
    places = range(len(ticks))
    for item in series:
        if len(series) <= MOST_BANDS:
            low, high, colour = _floats(item.low), _floats(item.high), _colour(item.index)
            axes.fill_between(places, low, high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(places, _floats(item.values), **_look(item.index))
    if line is not None:
        axes.axhline(line, color=_MUTED, linewidth=1, linestyle=(0, (4, 3)))
    if limits is not None:
        margin = 0.04 * (limits[1] - limits[0])
        axes.set_ylim(limits[0] - margin, limits[1] + margin)
    axes.set_xlim(-0.3, len(ticks) - 0.7)
    if crowded:
        axes.set_xticks(places, ticks, rotation=40, ha="right")
    else:
        axes.set_xticks(places, ticks)
    axes.set_ylabel(text.y)
    axes.set_xlabel(text.x)
    axes.grid(visible=True, axis="y")
    return _svg(figure, text, {item.index for item in series})


@_styled
def trace(text: Text, steps: Sequence[int], values: Sequence[float | None], index: int) -> str:
    """One quantity over the steps of a training."""
    figure, axes = _axes(2.4, 1.5, (0.2, 0.26))
    axes.plot(steps, _floats(values), color=_colour(index), linewidth=1.5)
    axes.set_xlabel(text.x)
    axes.margins(y=0.1)
    axes.locator_params(nbins=4)
    axes.grid(visible=True, axis="y")
    return _svg(figure, text, {index})


@_styled
def forest(text: Text, rows: Sequence[Estimate]) -> str:
    """Scores with intervals, best first."""
    labels = [textwrap.fill(f"{row.rank}  {row.label}", 20) for row in rows]
    lines = sum(label.count("\n") + 1 for label in labels)
    widest = max(len(line) for label in labels for line in label.splitlines())
    height = 0.75 + 0.27 * max(lines, 2)
    figure, axes = _axes(4.8, height, (min(0.05 + 0.018 * widest, 0.5), 0.5 / height))
    for place, row in enumerate(rows):
        colour = _colour(row.index)
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2)
        if len(row.seeds) > 1:
            axes.plot(row.seeds, [place] * len(row.seeds), "|", color=colour, markersize=9)
        axes.plot([row.score], [place], **_look(row.index))
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel(text.x)
    axes.grid(visible=True, axis="x")
    return _svg(figure, text, {row.index for row in rows})


@_styled
def plane(text: Text, points: Sequence[Estimate], line: tuple[float, str] | None = None) -> str:
    """Quality against score; up and left is better.

    Args:
        text: words.
        points: with `x`.
        line: a vertical level and what it is.
    """
    figure, axes = _axes(4.8, 3.4, (0.12, 0.14))
    for point in points:
        colour = _colour(point.index)
        if point.low is not None and point.high is not None:
            axes.plot([point.x, point.x], [point.low, point.high], color=colour, linewidth=1.4)
        axes.plot([point.x], [point.score], **_look(point.index))
    if line is not None:
        axes.axvline(line[0], color=_MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(line[1], (line[0], 0.02), color=_MUTED, rotation=90, ha="right", va="bottom")
    axes.set_ylim(-0.04, 1.04)
    axes.margins(x=0.12)
    axes.set_xlabel(text.x)
    axes.set_ylabel(text.y)
    axes.grid(visible=True)
    return _svg(figure, text, {point.index for point in points})


@_styled
def bars(
    text: Text,
    values: Sequence[float],
    index: int,
    line: float | None = None,
    span: tuple[float, float] | None = None,
) -> str:
    """One bar for each bit, or for each of the equal steps that `span` is cut into."""
    figure, axes = _axes(4.8, 2.1, (0.12, 0.23))
    low, high = span or (0.5, len(values) + 0.5)
    step = (high - low) / max(len(values), 1)
    places = [low + (number + 0.5) * step for number in range(len(values))]
    axes.bar(places, values, color=_colour(index), width=0.8 * step)
    if line is not None:
        axes.axhline(line, color=_MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_ylim(0, max(0.55, *values) if values else 1)
    axes.set_xlabel(text.x)
    axes.set_ylabel(text.y)
    axes.grid(visible=True, axis="y")
    return _svg(figure, text, {index})


# -- looks -------------------------------------------------------------------------------------


def _axes(width: float, height: float, margins: tuple[float, float]) -> Any:
    """Figure and axes; set margins (left, bottom) take half the time of measured ones."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI)
    axes = figure.add_subplot()
    figure.subplots_adjust(left=margins[0], bottom=margins[1], right=0.98, top=0.97)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelcolor=_MUTED)
    axes.xaxis.label.set_color(_MUTED)
    axes.yaxis.label.set_color(_MUTED)
    return figure, axes


def _colour(index: int) -> str:
    return f"#fe00{index % COLOURS:02x}"


def _look(index: int) -> dict[str, Any]:
    return {"color": _colour(index), "marker": marker(index), "linewidth": 1.8, "markersize": 5.5}


def _floats(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if v is None else v for v in values]


def _svg(figure: Any, text: Text, indices: set[int]) -> str:
    buffer = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    drawn = buffer.getvalue()
    box = re.search(r'<svg[^>]*viewBox="([^"]+)"[^>]*>', drawn)
    assert box is not None
    body = drawn[box.end() :]
    for pattern, new in _CLEANUPS:
        body = re.sub(pattern, new, body, flags=re.DOTALL)
    for stand_in, name in _NAMED.items():
        body = body.replace(stand_in, name)
    for index in sorted(indices):
        body = body.replace(_colour(index), f"var(--series-{index % COLOURS})")
    name, title, description = (escape(t) for t in (text.name, text.title, text.description))
    return (
        f'<svg class="chart" role="img" viewBox="{box[1]}" '
        f'aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{title}</title><desc id="{name}-desc">{description}</desc>{body}'
    )

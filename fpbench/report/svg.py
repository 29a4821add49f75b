"""The few SVG elements that charts are made of. Looks come from the page's style sheet.

Coordinates are user units of about one pixel, rounded to a tenth: finer is not seen and weighs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

LETTER = 5.6
"""Mean width of a letter of the charts' 10-unit type."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """A linear map of [low, high] to [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value lies."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def span_of(values: Iterable[float], margin: float = 0.08) -> tuple[float, float]:
    """Limits of an axis that holds all values with some room; never empty."""
    listed = list(values)
    low, high = min(listed, default=0.0), max(listed, default=1.0)
    size = max(abs(low), abs(high))
    size = size if size > 1e-300 else 1.0  # a share of less may be nothing
    # What differs by rounding alone is drawn as one level.
    room = margin * (high - low) if high - low > 1e-6 * size else 0.05 * size
    return low - room, high + room


def ticks_of(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` round numbers in [low, high]: multiples of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10, 20) if (high - low) / (power * m) <= most - 0.5)
    first = math.ceil(low / step - 1e-9)
    return [step * n for n in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float) -> str:
    """A tick's number: short, without exponents where they help nobody."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.6g}"
    return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e")


def number(value: float) -> str:
    """A coordinate."""
    return f"{round(value, 1):g}"


def line(points: Sequence[Point | None]) -> str:
    """Path data through the points; None breaks the line."""
    parts, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        parts.append(f"{pen}{number(point[0])} {number(point[1])}")
        pen = "L"
    return "".join(parts)


def path(data: str, css: str = "") -> str:
    """A path; nothing where there is no data."""
    return f'<path{_css(css)} d="{data}"/>' if data else ""


def text(x: float, y: float, words: str, css: str = "", turn: float = 0) -> str:
    """Words at a place; alignment comes from the class."""
    turned = f' transform="rotate({number(turn)} {number(x)} {number(y)})"' if turn else ""
    return f'<text{_css(css)} x="{number(x)}" y="{number(y)}"{turned}>{escape(words)}</text>'


def mark(x: float, y: float, shape: int) -> str:
    """A method's marker; the page defines the shapes once."""
    return f'<use href="#m{shape}" x="{number(x)}" y="{number(y)}"/>'


def rect(x: float, y: float, width: float, height: float) -> str:
    """A bar."""
    return (
        f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"/>'
    )


def group(parts: Iterable[str], css: str) -> str:
    """Elements that share a class."""
    return f"<g{_css(css)}>{''.join(parts)}</g>"


def figure(
    width: float, height: float, name: str, title: str, description: str, body: Iterable[str]
) -> str:
    """A chart that is read aloud by its title and description."""
    name = escape(name)
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {number(width)} {number(height)}" '
        f'aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{escape(title)}'
        f'</title><desc id="{name}-desc">{escape(description)}</desc>{"".join(body)}</svg>'
    )


def _css(name: str) -> str:
    return f' class="{name}"' if name else ""

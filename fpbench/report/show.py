"""How numbers look on the page. Rounding never turns almost all into all, or few into none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fpbench.report.tables import Number

WORDS = {
    "refused": "refused",
    "not-supported": "not supported",
    "unavailable": "unavailable",
    "failed": "failed",
    "out-of-memory": "out of memory",
    "timed-out": "timed out",
    "blocked": "blocked",
    "missing": "missing",
}
"""Outcome -> the word for it, beside its colour."""


@dataclass(frozen=True)
class Shown:
    """A table cell.

    Attributes:
        text: the number, or the word of the outcome.
        sub: second line: interval, counts.
        sort: what the column is sorted by; None sorts last.
        outcome: "done" or why there is no number.
        reason: why, for the notes under the table.
        record: start of the id of the record that the number comes from; empty if it has none.
        best: whether it is the best of its column.
        claim: whether it may be the best: False for stand-ins, and for what few copies show.
        css: further classes.
    """

    text: str
    sub: str = ""
    sort: float | None = None
    outcome: str = "done"
    reason: str = ""
    record: str = ""
    best: bool = False
    claim: bool = True
    css: str = ""


def share(value: float | None, digits: int = 3) -> str:
    """A number in [0, 1]; what is not quite 0 or 1 never looks like it."""
    if value is None:
        return "–"
    step = 10.0**-digits
    if 1 - step / 2 <= value < 1:
        return f">{1 - step:.{digits}f}"
    if 0 < value < step / 2:
        return f"<{step:.{digits}f}"
    return f"{value:.{digits}f}"


def rate(value: float | None) -> str:
    """A small rate with two significant digits."""
    if value is None:
        return "–"
    return "0" if value == 0 else f"{value:.2g}"


def decibel(value: float | None) -> str:
    """One decimal; identical images are counted as 99 dB."""
    return "–" if value is None else f"{value:.1f}"


def distance(value: float | None) -> str:
    """Three significant digits."""
    return "–" if value is None else f"{value:.3g}"


def likeness(name: str, value: float | None) -> str:
    """What samples are compared by, or the damage of those that are no images."""
    texts = {"psnr": decibel, "ssim": share}
    return texts.get(name, distance)(value)


def damage(value: float | None) -> str:
    """D or 1 - SSIM with two decimals; what is hardly better than before is 0."""
    return "–" if value is None else f"{value:.2f}".replace("-0.00", "0.00")


def ratio(value: float | None) -> str:
    """A factor."""
    return "–" if value is None else f"×{value:.2f}"


def seconds(value: float | None) -> str:
    """Seconds, three significant digits, never in powers of ten."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.001 else "<0.001"


def milliseconds(value: float | None) -> str:
    """Seconds as milliseconds."""
    return seconds(None if value is None else 1000 * value)


def mebibytes(value: float | None) -> str:
    """Bytes as MiB."""
    return "–" if value is None else f"{value / 2**20:,.0f}"


def interval(number: Number, digits: int = 3) -> str:
    """The interval, or the range of training seeds; and whether it claims nothing."""
    ends = span(number.low, number.high, digits)
    if len(number.seeds) > 1:
        ends = f"seeds {span(min(number.seeds), max(number.seeds), digits)}"
    return f"{ends} · not a claim" if ends and number.detail.get("no_claim") else ends


def span(low: float | None, high: float | None, digits: int = 3) -> str:
    """Two ends; empty where either is not known."""
    if low is None or high is None:
        return ""
    return f"{share(low, digits)} – {share(high, digits)}"


def count(value: float | None) -> str:
    """A whole number with thousands set apart."""
    return "–" if value is None else f"{value:,.0f}"


def cell(number: Number, text: str, sub: str = "") -> Shown:
    """A number as a table cell, or its outcome."""
    if not number.done:
        return missing(number)
    claim = not number.detail.get("no_claim")
    return Shown(text, sub, number.value, record=number.record, claim=claim)


def missing(number: Number) -> Shown:
    """An outcome as a table cell."""
    word = WORDS.get(number.outcome, number.outcome)
    return Shown(word, outcome=number.outcome, reason=number.reason, record=number.record)


def plain(value: Any) -> str:
    """A parameter as people read it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} = {plain(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(v) for v in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


class Notes:
    """Numbered reasons under a table; equal ones share a number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}

    def number(self, shown: Shown) -> int:
        """The note's number of a cell without a value."""
        key = (WORDS.get(shown.outcome, shown.outcome), shown.reason)
        return self._numbers.setdefault(key, len(self._numbers) + 1)

    def listed(self) -> list[tuple[int, str, str]]:
        """(number, outcome, reason), rising."""
        return [(number, *key) for key, number in self._numbers.items()]

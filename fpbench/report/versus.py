"""A comparison in words and as a page: the same rows in the terminal and in the browser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fpbench.builtin.metrics.shared import CLAIM_COPIES
from fpbench.report import charts, show
from fpbench.report.comparing import Line, Versus

HEADS = ("point", "A", "B", "A - B", "interval", "p", "adjusted", "copies")


@dataclass(frozen=True)
class Sheet:
    """A comparison, ready to be printed.

    Attributes:
        a: (method, run).
        b: (method, run).
        what: metric, level and correction.
        pairing: whether copies are paired, and why not.
        notes: what else a reader must know.
        rows: cells under `HEADS`; those without a test end after B.
        reasons: why a row has no test; empty if it has one.
        summary: how many points are decided.
        undecided: whether some are not.
    """

    a: tuple[str, Path]
    b: tuple[str, Path]
    what: str
    pairing: str
    notes: Sequence[str]
    rows: Sequence[tuple[str, ...]]
    reasons: Sequence[str]
    summary: str
    undecided: bool

    @property
    def untested(self) -> list[tuple[str, str]]:
        """(point, reason) of the rows without a test."""
        pairs = zip(self.rows, self.reasons, strict=True)
        return [(row[0], reason) for row, reason in pairs if reason]


def sheet(found: Versus) -> Sheet:
    """The comparison as text."""
    lines = [*([found.score] if found.score else []), *found.lines]
    metric = f"{found.metric} {found.variant}".rstrip()
    pairing = "copies are paired: both methods met the same users, latents and attack draws"
    if found.unpaired:
        pairing = f"copies are not paired ({found.unpaired}): Welch's t test on copy means"
    summary, undecided = _summary(found)
    return Sheet(
        (found.a.method, found.a.folder),
        (found.b.method, found.b.folder),
        f"{metric}; {100 * found.level:g} % intervals of A - B; p adjusted over the points (Holm)",
        pairing,
        [*found.notes, *([_ONE_TRAINING] if found.score else []), *_few(found)],
        [_row(line, run_paired=not found.unpaired) for line in lines],
        [line.reason for line in lines],
        summary,
        undecided,
    )


def _few(found: Versus) -> list[str]:
    few = [
        line.label
        for line in found.lines
        if line.result and min(fewest for fewest, _ in line.copies) < CLAIM_COPIES
    ]
    if not few:
        return []
    return [f"fewer than {CLAIM_COPIES} copies are no basis for a claim: {', '.join(few)}"]


_ONE_TRAINING = (
    "scores are compared over copies of these trainings alone; another training of either method "
    "adds a variance of its own, which only ranks over three trainings know"
)


def write_comparison(comparisons: Sequence[Versus], output: Path) -> None:
    """Write a page of comparisons: a single HTML file, which needs nothing beside it."""
    from fpbench.report.site import Pages, static

    pages = Pages(output.parent)
    pages.globals |= {"title": _title(comparisons), "where": "comparison", "home": ""}
    parts = [
        (sheet(found), _chart(found, number), number) for number, found in enumerate(comparisons)
    ]
    pages.globals["inline"] = {"style": static("style.css"), "script": static("page.js")}
    pages.write(output.name, "versus.html.j2", parts=parts, heads=HEADS)


def _title(comparisons: Sequence[Versus]) -> str:
    first = comparisons[0]
    if len(comparisons) == 1:
        return f"{first.a.method} against {first.b.method}"
    return f"{first.a.folder.name} against {first.b.folder.name}"


def _chart(found: Versus, number: int) -> str:
    lines = [*([found.score] if found.score else []), *found.lines]
    rows = [
        charts.Difference(
            line.label,
            line.result.difference,
            None if math.isnan(line.result.low) else line.result.low,
            None if math.isnan(line.result.high) else line.result.high,
            sure=(line.result.p if line.adjusted is None else line.adjusted) <= 1 - found.level,
        )
        for line in lines
        if line.result is not None
    ]
    if not rows:
        return ""
    words = charts.Text(
        f"differences-{number}",
        f"{found.a.method} minus {found.b.method}",
        f"{len(rows)} differences with intervals; filled ones are significant after Holm; the "
        "numbers are in the table below.",
        x=f"A − B, {found.metric} {found.variant}".rstrip(),
    )
    return charts.differences(words, rows)


def _row(line: Line, *, run_paired: bool) -> tuple[str, ...]:
    values = (_value(line.a), _value(line.b))
    if line.result is None:
        return (line.label, *values)
    low, high = line.result.low, line.result.high
    interval = "–" if math.isnan(low) else f"{_signed(low)} to {_signed(high)}"
    one, other = ("-".join(map(str, dict.fromkeys(sizes))) for sizes in line.copies)
    copies = one if line.paired else f"{one}, {other}"
    if run_paired and not line.paired:
        copies += " not paired"
    adjusted = "–" if line.adjusted is None else _p(line.adjusted)
    difference = _signed(line.result.difference)
    return (line.label, *values, difference, interval, _p(line.result.p), adjusted, copies)


def _value(value: float | None) -> str:
    return show.share(value) if value is None or 0 <= value <= 1 else f"{value:.3f}"


def _signed(value: float) -> str:
    """A difference; what is not quite 0 never looks like it."""
    if value == 0:
        return "0"
    return f"{value:+.3f}" if abs(value) >= 0.0005 else f"{value:+.0e}"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.00005 else "<0.0001"


def _summary(found: Versus) -> tuple[str, bool]:
    tested = [line for line in found.lines if line.adjusted is not None]
    sure = [
        line for line in tested if line.adjusted is not None and line.adjusted <= 1 - found.level
    ]
    above = sum(line.result is not None and line.result.difference > 0 for line in sure)
    parts = [
        f"A higher at {above}",
        f"B at {len(sure) - above} (adjusted p <= {1 - found.level:.3g})",
        f"undecided at {len(tested) - len(sure)}",
    ]
    if len(found.lines) > len(tested):
        parts.append(f"not tested at {len(found.lines) - len(tested)}")
    return f"Points: {', '.join(parts)}.", len(sure) < len(tested)

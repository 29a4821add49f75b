"""Differences between methods: `compare` measures one, `plan --detect` says which can be found."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fpbench.report.comparing import Line, Versus
    from fpbench.report.sides import Side
    from fpbench.spec import Suite

_CORRELATION, _POWER, _LEVEL, _RATE = 0.05, 0.8, 0.05, 0.9
"""What `plan --detect` assumes: of images of one copy, of the test, of the better method."""
_RECORDS = "records.jsonl"
_NEXT = "What a suite can find: fpbench plan SUITE --detect 0.02"
_RATES = (0.5, 0.9, 0.98)
_IMAGES = (32, 100, 300)


@click.command()
@click.argument("a")
@click.argument("b")
@click.option(
    "--run",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the run of a METHOD without one; default: the only run in runs/.",
)
@click.option("--metric", default="attribution", show_default=True, help="What is compared.")
@click.option("--variant", default="", help="Which of the metric's numbers, e.g. n=10000.")
@click.option(
    "--point",
    "points",
    multiple=True,
    metavar="LABEL",
    help="Only this attack point, e.g. 'jpeg 50'; repeats. Default: all that both have.",
)
@click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Confidence level of the intervals.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Training seed.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def compare(
    a: str,
    b: str,
    run: Path | None,
    metric: str,
    variant: str,
    points: tuple[str, ...],
    level: float,
    seed: int,
    as_json: bool,
) -> None:
    """Compare two methods: the difference A - B at every attack point, and of the scores.

    A and B are RUN:METHOD, METHOD, or the RUN alone if it holds one method; RUN is a folder.
    Copies are paired where both runs drew the same ones. P values are two-sided and, in the column
    "adjusted", corrected for the number of points (Holm).
    """
    from fpbench.report.comparing import compare_sides
    from fpbench.report.sides import read_side

    sides = [read_side(*_which(text, run), seed) for text in (a, b)]
    found = compare_sides(sides[0], sides[1], metric, variant, points, level)
    if as_json:
        click.echo(json.dumps(_versus_json(found), indent=2))
        return
    for line in _versus_lines(found):
        click.echo(line)


def _which(text: str, run: Path | None) -> tuple[Path, str]:
    """Run and method of `RUN:METHOD`, `METHOD` or `RUN`."""
    from fpbench.api import SpecError
    from fpbench.report.sides import methods_in

    place, colon, method = text.rpartition(":")
    if not colon:
        place, method = (text, "") if _is_run(Path(text)) else ("", text)
    folder = Path(place) if place else run or _only_run(method)
    if not _is_run(folder):
        listed = ", ".join(map(str, _runs())) or "none"
        raise SpecError(
            [f"compare: expected a run, a folder with {_RECORDS}, got {folder}; in runs/: {listed}"]
        )
    if not method:
        methods = methods_in(folder)
        if len(methods) != 1:
            raise SpecError(
                [
                    f"compare: expected {folder}:METHOD, got {folder}; METHOD is one of "
                    f"{', '.join(methods)}"
                ]
            )
        method = methods[0]
    return folder, method


def _only_run(method: str) -> Path:
    from fpbench.api import SpecError

    found = _runs()
    if len(found) != 1:
        listed = ", ".join(map(str, found)) or "no run"
        raise SpecError(
            [
                f"compare: expected the run of '{method}', got {listed} in runs/; write "
                f"RUN:{method} or give --run RUN"
            ]
        )
    return found[0]


def _runs() -> list[Path]:
    return sorted(path for path in Path("runs").glob("*") if _is_run(path))


def _is_run(folder: Path) -> bool:
    return (folder / _RECORDS).is_file()


def _versus_lines(found: Versus) -> Iterable[str]:
    yield f"A  {found.a.method}  ({found.a.folder})"
    yield f"B  {found.b.method}  ({found.b.folder})"
    what = f"{found.metric} {found.variant}".rstrip()
    yield f"{what}; {100 * found.level:g} % intervals of A - B; p adjusted over the points (Holm)"
    if found.unpaired:
        yield f"copies are not paired ({found.unpaired}): Welch's t test on copy means"
    else:
        yield "copies are paired: both methods met the same users, latents and attack draws"
    for note in found.notes:
        yield f"note: {note}"
    yield ""
    header = ("point", "A", "B", "A - B", "interval", "p", "adjusted", "copies")
    lines = [*([found.score] if found.score else []), *found.lines]
    rows = [_row(line, run_paired=not found.unpaired) for line in lines]
    yield from _table([header, *rows], [line.reason for line in lines])
    yield ""
    yield _summary(found)


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
    from fpbench.report import show

    return show.share(value) if value is None or 0 <= value <= 1 else f"{value:.3f}"


def _signed(value: float) -> str:
    """A difference; what is not quite 0 never looks like it."""
    if value == 0:
        return "0"
    return f"{value:+.3f}" if abs(value) >= 0.0005 else f"{value:+.0e}"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.00005 else "<0.0001"


def _table(rows: Sequence[Sequence[str]], reasons: Sequence[str]) -> Iterable[str]:
    """Aligned columns, the first to the left; a row that ends early goes on with its reason."""
    columns = zip_longest(*rows, fillvalue="")
    widths = [max(map(len, column)) for column in columns]
    for row, reason in zip(rows, ("", *reasons), strict=True):
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=False)]
        yield "  ".join([f"{row[0]:<{widths[0]}}", *cells, reason]).rstrip()


def _summary(found: Versus) -> str:
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
    text = f"Points: {', '.join(parts)}."
    return text if len(sure) == len(tested) else f"{text} {_NEXT}"


def _versus_json(found: Versus) -> dict[str, Any]:
    return {
        "a": _side_json(found.a),
        "b": _side_json(found.b),
        "metric": found.metric,
        "variant": found.variant,
        "level": found.level,
        "paired": not found.unpaired,
        "unpaired_because": found.unpaired,
        "notes": list(found.notes),
        "score": None if found.score is None else _line_json(found.score),
        "points": [_line_json(line) for line in found.lines],
    }


def _side_json(side: Side) -> dict[str, Any]:
    return {"run": str(side.folder), "method": side.method, "training_seed": side.seed}


def _line_json(line: Line) -> dict[str, Any]:
    result = line.result
    numbers = {
        name: None if result is None else _finite(getattr(result, name))
        for name in ("difference", "low", "high", "p", "df")
    }
    return {
        "label": line.label,
        "a": line.a,
        "b": line.b,
        **numbers,
        "p_adjusted": line.adjusted,
        "copies_a": list(line.copies[0]),
        "copies_b": list(line.copies[1]),
        "paired": line.paired,
        "reason": line.reason,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# -- before a run ------------------------------------------------------------------------------


def say_detectable(suite: Suite, difference: float, *, as_json: bool) -> None:
    """Print what a suite can find, and what it takes to find `difference`."""
    data = _detectable(suite, difference)
    if as_json:
        click.echo(json.dumps(data, indent=2))
        return
    for line in _detectable_lines(data):
        click.echo(line)


def _detectable(suite: Suite, difference: float) -> dict[str, Any]:
    from fpbench import stats

    populations = [
        {
            "attacks": attacks,
            "copies": copies,
            "images": images,
            "difference": stats.detectable(copies, images, _RATE, _CORRELATION, _POWER, _LEVEL)
            if copies > 1
            else None,
        }
        for (copies, images), attacks in _populations(suite).items()
    ]
    needed = [
        {
            "images": images,
            "copies": {
                f"{rate:g}": stats.copies_needed(
                    difference, rate, _CORRELATION, images, _POWER, _LEVEL
                )
                if difference <= rate
                else None
                for rate in _RATES
            },
        }
        for images in dict.fromkeys((suite.population.images, *_IMAGES))
    ]
    negatives = stats.negatives_needed(suite.score.false_rate)
    return {
        "suite": f"{suite.header.name} version {suite.header.version}",
        "difference": difference,
        "assumptions": {"correlation": _CORRELATION, "power": _POWER, "level": _LEVEL},
        "detectable": {"rate": _RATE, "populations": populations},
        "needed": needed,
        "negatives": {
            "false_rate": suite.score.false_rate,
            "needed": negatives,
            "real": suite.negatives.real,
            "real_enough": suite.negatives.real >= negatives,
            "host": suite.negatives.host,
            "host_enough": suite.negatives.host >= negatives,
        },
    }


def _populations(suite: Suite) -> dict[tuple[int, int], list[str]]:
    """(copies, images) -> attacks on as many; the suite's own first, and all that names none."""
    from fpbench.api import CoalitionAttack, ForgeryAttack

    whole = suite.population
    found: dict[tuple[int, int], list[str]] = {(whole.copies, whole.images): []}
    for attack in suite.attacks:
        # Nobody is the right one to accuse after these, so there is no rate of this kind.
        if not isinstance(attack.component, CoalitionAttack | ForgeryAttack):
            options = attack.options
            size = (options.copies or whole.copies, options.images or whole.images)
            found.setdefault(size, []).append(attack.label)
    found[whole.copies, whole.images] = []
    return found


def _detectable_lines(data: dict[str, Any]) -> Iterable[str]:
    assumed, negatives = data["assumptions"], data["negatives"]
    yield f"suite {data['suite']}"
    yield (
        f"assumed: correlation {assumed['correlation']:g} of images of one copy, none of two "
        f"methods on one copy; power {assumed['power']:g}, two-sided level {assumed['level']:g}, "
        "one point, no adjustment for several"
    )
    yield f"smallest difference found below a rate of {data['detectable']['rate']:g}:"
    for part in data["detectable"]["populations"]:
        who = f" ({', '.join(part['attacks'])})" if part["attacks"] else ""
        found = "none" if part["difference"] is None else f"{part['difference']:.3f}"
        yield f"  {found:>6}  with {part['copies']} copies of {part['images']} images{who}"
    yield f"copies that find a difference of {data['difference']:g} below a rate:"
    own = data["needed"][0]["images"]
    header = ("images per copy", *data["needed"][0]["copies"])
    rows = [
        (
            f"{row['images']}{' (this suite)' if row['images'] == own else ''}",
            *("–" if n is None else f"{n:,}" for n in row["copies"].values()),
        )
        for row in data["needed"]
    ]
    yield from (f"  {line}" for line in _table([header, *rows], [""] * len(rows)))
    yield (
        f"negatives without a false alarm that support a false rate of "
        f"{negatives['false_rate']:g} at 95 %: {negatives['needed']:,}"
    )
    for source in ("real", "host"):
        verdict = "enough" if negatives[f"{source}_enough"] else "too few"
        yield f"  [negatives] {source} = {negatives[source]:,}: {verdict}"
    yield _next(data)


def _next(data: dict[str, Any]) -> str:
    row = data["needed"][0]
    copies = row["copies"][f"{_RATE:g}"]
    if copies is None:
        return f"Next: ask for a difference of at most {_RATE:g}"
    first = data["detectable"]["populations"][0]
    if copies <= first["copies"]:
        return "Next: fpbench run SUITE; its copies find this difference"
    return f"Next: fpbench run SUITE --set population.copies={copies}, or more images per copy"

"""Differences between methods: `compare` measures one, `plan --detect` says which can be found."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fpbench.cli.options import SHARE, json_option

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
    type=SHARE,
    default=0.95,
    show_default=True,
    help="Confidence level of the intervals.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Training seed.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Also write the comparison as a page.",
)
@json_option
def compare(
    a: str,
    b: str,
    run: Path | None,
    metric: str,
    variant: str,
    points: tuple[str, ...],
    level: float,
    seed: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Compare two methods: the difference A - B at every attack point, and of the scores.

    A and B are RUN:METHOD, METHOD, or the RUN alone if it holds one method; RUN is a folder. Two
    RUNs with several methods are compared method by method, where both hold it.
    Copies are paired where both runs drew the same ones. P values are two-sided and, in the column
    "adjusted", corrected for the number of points (Holm).
    """
    from fpbench.report.comparing import compare_sides
    from fpbench.report.sides import read_side

    comparisons = [
        compare_sides(
            read_side(*one, seed), read_side(*other, seed), metric, variant, points, level
        )
        for one, other in _pairs(a, b, run)
    ]
    if output is not None:
        from fpbench.report.versus import write_comparison

        write_comparison(comparisons, output)
    if as_json:
        data = [_versus_json(found) for found in comparisons]
        click.echo(json.dumps(data[0] if len(data) == 1 else data, indent=2))
        return
    for number, found in enumerate(comparisons):
        click.echo("\n" * (number > 0) + "\n".join(_lines(found)))
    if output is not None:
        click.echo(f"Open the comparison: {output.resolve().as_uri()}")


_Named = tuple[Path, str]


def _pairs(a: str, b: str, run: Path | None) -> list[tuple[_Named, _Named]]:
    """What is compared with what: two methods, or all that two runs share."""
    from fpbench.api import SpecError
    from fpbench.report.sides import methods_in

    one, other = Path(a), Path(b)
    if _is_run(one) and _is_run(other) and one.resolve() != other.resolve():
        mine, theirs = methods_in(one), methods_in(other)
        if len(mine) > 1 or len(theirs) > 1:
            shared = [label for label in mine if label in theirs]
            if not shared:
                raise SpecError(
                    [
                        f"compare: expected runs that share a method, got {', '.join(mine)} in "
                        f"{one} and {', '.join(theirs)} in {other}; name them as RUN:METHOD"
                    ]
                )
            return [((one, label), (other, label)) for label in shared]
    return [(_which(a, run), _which(b, run))]


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


def _lines(found: Versus) -> Iterable[str]:
    from fpbench.report.versus import HEADS, sheet

    text = sheet(found)
    for letter, (method, folder) in (("A", text.a), ("B", text.b)):
        yield f"{letter}  {method}  ({folder})"
    yield text.what
    yield text.pairing
    for note in text.notes:
        yield f"note: {note}"
    yield ""
    yield from _table([HEADS, *text.rows], text.reasons)
    yield ""
    yield f"{text.summary} {_NEXT}" if text.undecided else text.summary


def _table(rows: Sequence[Sequence[str]], reasons: Sequence[str]) -> Iterable[str]:
    """Aligned columns, the first to the left; a row that ends early goes on with its reason."""
    columns = zip_longest(*rows, fillvalue="")
    widths = [max(map(len, column)) for column in columns]
    for row, reason in zip(rows, ("", *reasons), strict=True):
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=False)]
        yield "  ".join([f"{row[0]:<{widths[0]}}", *cells, reason]).rstrip()


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

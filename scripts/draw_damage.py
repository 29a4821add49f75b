"""Draws how rates fall with the damage that an attack does to each copy's own images.

    python scripts/draw_damage.py leaderboards/modulations weight-noise noise.svg --at 26

Prints a table in Markdown: each method's bit accuracy where its own copies' images are so many
decibels from what they were, with the difference to one method over the same users (paired
t-interval, 95 %). Between strengths, a copy's accuracy is a straight line over its PSNR. Users
whose copies no strength has taken so far are left out; a column says how many are there.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from scipy import stats

from fpbench.report import svg

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")
STYLE = (
    "text{font:11px sans-serif;fill:#555}.grid{stroke:#ccc;stroke-width:.6;fill:none}"
    ".line{fill:none;stroke-width:1.8}.middle{text-anchor:middle}.end{text-anchor:end}"
)
_RATES = (("bit-accuracy", "bit accuracy"), ("attribution", "traced"))
_WANTED = {("damage", "psnr"): "psnr"} | {(name, ""): name for name, _ in _RATES}
_PSNR = (20.0, 40.0)


@dataclass
class Curve:
    """One method under one attack, for each strength: values of each copy."""

    psnr: list[list[float]] = field(default_factory=list)
    rates: dict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))

    def at(self, decibels: float, metric: str) -> np.ndarray:
        """(U,) what copies have there; nan where no strength has gone so far."""
        psnr, rate = np.array(self.psnr), np.array(self.rates[metric])
        found = []
        for user in range(psnr.shape[1]):
            order = np.argsort(psnr[:, user])
            own = psnr[order, user]
            inside = own[0] <= decibels <= own[-1]
            found.append(np.interp(decibels, own, rate[order, user]) if inside else math.nan)
        return np.array(found)


def read(board: Path, attack: str) -> dict[str, Curve]:
    """Label -> what it reaches under an attack, by rising strength and for each copy."""
    found: dict[str, dict[float, dict[str, list[float]]]] = {}
    for text in (board / "records.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(text)
        model = (record["point"] or {}).get("model") or {}
        if model.get("label") != attack or record["outcome"] != "done":
            continue
        name = _WANTED.get((record["metric"], record["variant"]))
        if name and record["by_copy"]:
            own = found.setdefault(record["method"]["label"], {}).setdefault(model["strength"], {})
            own.setdefault(name, []).extend(record["by_copy"])  # of further trainings, behind
    curves = {}
    for label, strengths in found.items():
        curve = curves[label] = Curve()
        for _, values in sorted(strengths.items()):
            if {"psnr", *(name for name, _ in _RATES)} <= values.keys():
                curve.psnr.append(values["psnr"])
                for name, _ in _RATES:
                    curve.rates[name].append(values[name])
    return {label: curve for label, curve in curves.items() if curve.psnr}


def drawn(curves: dict[str, Curve], title: str) -> str:
    """A picture of its own: one panel for each rate, means over copies."""
    parts = [f"<style>{STYLE}</style>"]
    for panel, (metric, words) in enumerate(_RATES):
        left, right = 52 + 350 * panel, 340 + 350 * panel
        x = svg.Scale(_PSNR[1], _PSNR[0], left, right)
        y = svg.Scale(0.6 if metric == "bit-accuracy" else 0.0, 1.0, 236, 10)
        for tick in svg.ticks_of(y.low, 1.0):
            parts.append(svg.path(f"M{left} {svg.number(y(tick))}H{right}", "grid"))
            parts.append(svg.text(left - 5, y(tick) + 4, svg.tick_text(tick), "end"))
        for tick in range(20, 41, 4):
            parts.append(svg.path(f"M{svg.number(x(tick))} 10V236", "grid"))
            parts.append(svg.text(x(tick), 250, str(tick), "middle"))
        middle = "PSNR to the copy's own images, dB (worse to the right)"
        parts.append(svg.text((left + right) / 2, 266, middle, "middle"))
        parts.append(svg.text(left - 36, 123, words, "middle", -90))
        for number, curve in enumerate(curves.values()):
            points = sorted(
                (float(np.mean(psnr)), float(np.mean(rate)))
                for psnr, rate in zip(curve.psnr, curve.rates[metric], strict=True)
            )
            inside = [(x(p), y(r)) for p, r in points if _PSNR[0] <= p <= _PSNR[1]]
            colour = COLOURS[number % len(COLOURS)]
            dashes = ' stroke-dasharray="5 3"' if number >= len(COLOURS) else ""
            parts.append(
                f'<path class="line" stroke="{colour}"{dashes} d="{svg.line(inside)}"/>'
                + "".join(
                    f'<circle cx="{svg.number(a)}" cy="{svg.number(b)}" r="2.6" fill="{colour}"/>'
                    for a, b in inside
                )
            )
    for number, label in enumerate(curves):
        row, column = divmod(number, 4)
        at = (52 + 162 * column, 288 + 16 * row)
        parts.append(svg.text(at[0] + 14, at[1], label))
        colour = COLOURS[number % len(COLOURS)]
        dashes = ' stroke-dasharray="5 3"' if number >= len(COLOURS) else ""
        way = f"M{at[0] - 6} {at[1] - 4}h16"
        parts.append(f'<path class="line" stroke="{colour}"{dashes} d="{way}"/>')
    height = 296 + 16 * ((len(curves) - 1) // 4)
    told = "Lines of means over copies; the table beside has the numbers."
    figure = svg.figure(700, height, "damage", title, told, parts)
    return figure.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean, and half the width of its 95 % t-interval."""
    spread = float(stats.sem(values)) if len(values) > 1 else math.nan
    return float(values.mean()), float(stats.t.ppf(0.975, max(len(values) - 1, 1))) * spread


def table(curves: dict[str, Curve], decibels: float, against: str) -> str:
    """Rows in Markdown, the best first."""
    head = f"| method | bit accuracy at {decibels:g} dB | traced | users | minus {against} |"
    rows = []
    for label, curve in curves.items():
        bits, traced = (curve.at(decibels, metric) for metric, _ in _RATES)
        known = ~np.isnan(bits)
        if not known.any():
            rows.append((-1.0, f"| {label} | not reached | | 0 | |"))
            continue
        mean, half = interval(bits[known])
        beside = ""
        other = curves[against].at(decibels, "bit-accuracy") if against in curves else bits * np.nan
        both = known & ~np.isnan(other) if len(other) == len(bits) else known & False
        if label != against and both.sum() > 1:
            more, width = interval((bits - other)[both])
            beside = f"{more:+.3f} ± {width:.3f}"
        cells = (
            label,
            f"{mean:.3f} ± {half:.3f}",
            f"{traced[known].mean():.2f}",
            f"{known.sum()} of {len(known)}",
            beside,
        )
        rows.append((mean, f"| {' | '.join(cells)} |"))
    return "\n".join(
        [head, "|---|---|---|---|---|", *(row for _, row in sorted(rows, reverse=True))]
    )


@click.command()
@click.argument("board", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("attack")
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("--at", "decibels", type=float, multiple=True, default=(26.0,))
@click.option("--against", default="amplitude")
@click.option("-m", "methods", multiple=True, help="Labels, in this order; none = all.")
def main(
    board: Path,
    attack: str,
    picture: Path,
    decibels: Sequence[float],
    against: str,
    methods: Sequence[str],
) -> None:
    """See the file's head."""
    curves = read(board, attack)
    if missing := set(methods) - curves.keys():
        sys.exit(f"no {attack} of {', '.join(sorted(missing))} there; got {', '.join(curves)}")
    curves = {label: curves[label] for label in methods or curves}
    picture.write_text(drawn(curves, f"{attack}: rates over damage"), encoding="utf-8")
    for wanted in decibels:
        click.echo(table(curves, wanted, against))


if __name__ == "__main__":
    main()

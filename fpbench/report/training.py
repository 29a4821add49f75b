"""How methods and hosts were trained, as the method's page shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fpbench.report import charts
from fpbench.report.pictures import shown_name
from fpbench.report.tables import NONE, Board, MethodInfo, Number


@dataclass(frozen=True)
class Phase:
    """One phase of a training.

    Attributes:
        label: e.g. "method joint".
        facts: in words: images per second, precision, device.
        drawn: (quantity, chart) of what was logged.
        heads: the logged quantities.
        rows: (step, value of each) as printed.
        sheets: (caption, file) of samples over time.
    """

    label: str
    facts: str
    drawn: Sequence[tuple[str, str]]
    heads: Sequence[str]
    rows: Sequence[tuple[str, list[str]]]
    sheets: Sequence[tuple[str, str]]


def phases(board: Board, method: MethodInfo) -> Iterator[Phase]:
    """The phases of the host's training, then of the method's, of the first training seed."""
    kept = board.inputs.samples.methods.get(method.label)
    sheets = kept.training if kept else {}
    variants = dict.fromkeys(
        r["variant"] for r in board.by_method.get(method.label, ()) if r["metric"] == "training"
    )
    for variant in variants:
        number = board.at_seed(method.label, board.seeds[0], NONE, "training", variant)
        steps = number.detail.get("step") or []
        logged = number.detail.get("curve") or {}
        curve = {k: v for k, v in logged.items() if steps and len(v) == len(steps)}
        yield Phase(
            variant,
            _facts(number),
            [(name, _chart(method, variant, name, steps, curve[name])) for name in curve],
            list(curve),
            [
                (f"{step:,}", [_printed(values[place]) for values in curve.values()])
                for place, step in enumerate(steps)
            ],
            [
                (f"step {step:,}", shown_name(file))
                for step, file in sorted(sheets.get(variant, {}).items())
            ],
        )


def _printed(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _facts(number: Number) -> str:
    detail = number.detail
    parts = [
        f"{number.value:,.0f} images/s" if number.value is not None else "",
        f"{number.n:,} images" if number.n else "",
        f"{detail['precision']}" if "precision" in detail else "",
        f"on {detail['device']}" if "device" in detail else "",
        f"and {detail['devices'] - 1} more" if detail.get("devices", 1) > 1 else "",
    ]
    if detail.get("pieces", 1) > 1:
        parts.append(f"each batch in {detail['pieces']} pieces, since it did not fit as a whole")
    if "choice" in detail:
        parts.append(_choice(detail["choice"]))
    return ", ".join(part for part in parts if part)


def _choice(choice: Mapping[str, Any]) -> str:
    """Which of the states that were kept is used, and why."""
    distances = choice["distances"]
    if distances:
        return (
            f"used: the state of step {choice['step']:,} of {choice['of']:,}, of {len(distances)} "
            f"the nearest to {choice['images']:,} training images in the features of Inception"
        )
    return "used: the last state; without the Inception weights, or other states, none was chosen"


def _chart(
    method: MethodInfo,
    variant: str,
    name: str,
    steps: Sequence[int],
    values: Sequence[float | None],
) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", f"training {variant} {name}".lower())
    words = charts.Text(
        slug,
        f"{method.label}, {variant}: {name}",
        f"{len(steps)} points from step {steps[0]:,} to step {steps[-1]:,}; the numbers are in the "
        "table below.",
        x="step",
    )
    return charts.trace(words, steps, values, method.index)

"""What of a plan is stored, pending or refused, for people and for machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fpbench.plan.plan import Plan
from fpbench.store import Store


@dataclass(frozen=True)
class Status:
    """State of a plan in a store.

    Attributes:
        suite: name and version.
        stages: (kind, label, number stored, number in all).
        cells: outcome -> number.
        refused: (cell label, reason).
        unavailable: (label, reason).
        supported: what the score's N and α mean for each method's bits.
    """

    suite: str
    stages: tuple[tuple[str, str, int, int], ...]
    cells: dict[str, int]
    refused: tuple[tuple[str, str], ...]
    unavailable: tuple[tuple[str, str], ...]
    supported: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "suite": self.suite,
            "stages": [
                {"kind": kind, "label": label, "stored": stored, "total": total}
                for kind, label, stored, total in self.stages
            ],
            "cells": self.cells,
            "refused": [{"cell": cell, "reason": reason} for cell, reason in self.refused],
            "unavailable": [{"label": label, "reason": why} for label, why in self.unavailable],
            "score": list(self.supported),
        }

    def lines(self) -> list[str]:
        """As text."""
        lines = [f"suite {self.suite}"]
        lines += [
            f"  {kind:<9} {label:<44} {stored:>5} of {total} stored"
            for kind, label, stored, total in self.stages
        ]
        lines.append("cells: " + ", ".join(f"{n} {name}" for name, n in self.cells.items()))
        lines += [f"  refused: {cell}: {reason}" for cell, reason in self.refused]
        lines += [f"  unavailable: {label}: {reason}" for label, reason in self.unavailable]
        lines += [f"score: {line}" for line in self.supported]
        pending = self.cells.get("pending", 0)
        lines.append(
            "Next: fpbench run does what is pending" if pending else "Next: nothing is pending"
        )
        return lines


def status_of(plan: Plan, store: Store) -> Status:
    """Look every stage up in the store."""
    stages = [("host", plan.suite.host.name, int(store.has(plan.host_training)), 1)]
    if plan.host_key != plan.host_training:
        stages.append(("choice", plan.suite.host.name, int(store.has(plan.host_key)), 1))
    for fit in plan.fits:
        label = fit.method.label if fit.seed == 0 else f"{fit.method.label} (seed {fit.seed})"
        stages.append(("training", label, int(store.has(fit.training)), 1))
        if fit.key != fit.training:
            stages.append(("choice", label, int(store.has(fit.key)), 1))
        keys = [key for _, key in plan.stages(fit)]
        stored = sum(1 for key in keys if store.started(key))
        stages.append(("readings", label, stored, len(keys)))
    cells = {"stored": 0, "pending": 0, "refused": 0}
    for cell in plan.cells:
        if cell.refusal is not None:
            cells["refused"] += 1
        else:
            cells["stored" if store.has(cell.key) else "pending"] += 1
    return Status(
        suite=f"{plan.suite.header.name} version {plan.suite.header.version}",
        stages=tuple(stages),
        cells=cells,
        refused=tuple(
            (f"{c.fit.method.label} under {c.point.label}", c.refusal.reason)
            for c in plan.cells
            if c.refusal is not None
        ),
        unavailable=(
            *((item.label, item.reason) for item in plan.suite.unavailable),
            *((f"backbone {b.name}", b.reason) for b in plan.backbones if b.reason),
        ),
        supported=tuple(_score_lines(plan)),
    )


def _score_lines(plan: Plan) -> list[str]:
    score = plan.suite.score
    lines = []
    for method in plan.suite.methods:
        # The exact rule is in fpbench.stats, which needs scipy; a plan only states the question.
        bits = method.component.bits
        lines.append(
            f"{method.label}: {bits} bits, N = {score.registered:,} registered, "
            f"false accusations per image at most {score.false_rate:g}"
        )
    return lines

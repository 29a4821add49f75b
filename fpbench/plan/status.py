"""What of a plan is stored, pending or refused, for people and for machines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from fpbench.api import Gives
from fpbench.plan.assets import missing_assets
from fpbench.plan.data import noun
from fpbench.plan.faults import Fault, asked
from fpbench.plan.pending import is_done
from fpbench.plan.plan import Plan
from fpbench.plan.stages import Kind, Stage, cell_label, fit_label, graph_of
from fpbench.spec import SuiteMethod
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
        asked: how much of everything, with the defaults that hold.
        supported: what the score's N and α mean for each method's bits.
    """

    suite: str
    stages: tuple[tuple[str, str, int, int], ...]
    cells: dict[str, int]
    refused: tuple[tuple[str, str], ...]
    unavailable: tuple[tuple[str, str], ...]
    asked: tuple[str, ...]
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
            "asked": list(self.asked),
            "score": list(self.supported),
        }

    def lines(self) -> list[str]:
        """As text."""
        lines = [f"suite {self.suite}", *(f"  {line}" for line in self.asked)]
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


_SHOWN = {
    Kind.HOST: "host",
    Kind.HOST_CHOICE: "choice",
    Kind.TRAINING: "training",
    Kind.CHOICE: "choice",
    Kind.TUNING: "tuning",
    Kind.COPY: "copies",
    Kind.NEGATIVES: "negatives",
    Kind.SECRECY: "secrecy",
}


def status_of(plan: Plan, store: Store) -> Status:
    """Look every stage up in the store."""
    stages: dict[tuple[str, str], list[bool]] = {}
    for stage in graph_of(plan).of(*_SHOWN):
        done = is_done(stage, plan, store)
        stages.setdefault((_SHOWN[stage.kind], _what(plan, stage)), []).append(done)
    cells = {"stored": 0, "pending": 0, "refused": 0}
    for cell in plan.cells:
        if cell.refusal is not None:
            cells["refused"] += 1
        else:
            cells["stored" if store.has(cell.key) else "pending"] += 1
    return Status(
        suite=f"{plan.suite.header.name} version {plan.suite.header.version}",
        stages=tuple((*about, sum(done), len(done)) for about, done in stages.items()),
        cells=cells,
        refused=tuple(
            (cell_label(c), c.refusal.reason) for c in plan.cells if c.refusal is not None
        ),
        unavailable=(
            *((item.label, item.reason) for item in plan.suite.unavailable),
            *((f"backbone {b.name}", b.reason) for b in plan.backbones if b.reason),
            *((f"method {m.label}", why) for m in plan.suite.methods if (why := _lacks(m))),
            *(
                (who, why)
                for who, component in plan.suite.opening
                for why in missing_assets(component, plan.weights)
            ),
        ),
        asked=tuple(_asked_lines(plan)),
        supported=tuple(_score_lines(plan)),
    )


def _lacks(method: SuiteMethod) -> str:
    try:
        return asked(f"method {method.label}: lacks", method.component.lacks)
    except Fault as fault:
        return str(fault)


def _what(plan: Plan, stage: Stage) -> str:
    return plan.suite.host.name if stage.fit is None else fit_label(stage.fit)


def _asked_lines(plan: Plan) -> list[str]:
    """Copies, images, negatives, splits and trainings, as they will be."""
    suite, counts = plan.suite, plan.facts.counts
    people, nobody = suite.population, suite.negatives
    copies = {f"{suite.users(method):,}" for method in suite.methods} or {f"{people.copies:,}"}
    splits = ", ".join(f"{counts[split]:,} {split}" for split in counts)
    seeds = len(suite.training.seeds)
    return [
        f"data      {suite.dataset.name}, {splits}",
        f"copies    {' or '.join(sorted(copies))} of each method, {people.images:,} "
        f"{noun(plan.facts.modality)}s of each and {people.shared:,} at shared latents",
        f"negatives {nobody.real:,} real, {nobody.host:,} of the host, {nobody.attacked_host:,} "
        "under each model attack",
        f"trainings {seeds} of each method" + ("" if seeds > 2 else "; ranks take 3 (-s 0..2)"),
    ]


def _score_lines(plan: Plan) -> list[str]:
    score, one = plan.suite.score, noun(plan.facts.modality)
    lines = []
    for method in plan.suite.methods:
        # The exact rule is in fpbench.stats, which needs scipy; a plan only states the question.
        gives, bits = method.component.gives, method.component.bits
        what = f"{bits} bits" if gives is Gives.BITS else str(gives)
        asked = f"false accusations per {one} at most {score.false_rate:g}"
        if gives is Gives.PRESENCE:
            asked = f"false detections per {one} at most {score.false_rate:g}"
        else:
            n = score.registered if gives is Gives.BITS else plan.suite.users(method)
            asked = f"N = {n:,} registered, {asked}"
        if gives is Gives.BITS and method.code.name == "uniform":
            asked += _never(bits, score.registered, score.false_rate)
        lines.append(f"{method.label}: {what}, {asked}")
    return lines


def _never(bits: int, registered: int, false_rate: float) -> str:
    """What so many uniform bits cannot say, however well they are read.

    The tail of all K bits is 2^-K; `fpbench.stats.supports` has the rule, which is the same.
    """
    if bits > 512:  # nobody registers so many, and the tail is no float any more
        return ""
    tail = 2.0**-bits
    most = min(2**bits // 8, int(math.log1p(-false_rate) / math.log1p(-tail)))
    said = "; not supported, " if registered > most else ""
    if said:
        said += f"{bits} bits tell at most {most:,} apart" if most > 1 else "whatever N"
    rates = [f"{rate:g}" for rate in (1e-2, 1e-3, 1e-6) if tail > rate]
    return said + (f"; no claim of one code at {', '.join(rates)}" if rates else "")

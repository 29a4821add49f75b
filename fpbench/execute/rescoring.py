"""Recomputes the numbers of a run from what is stored: readings, measures of pairs, features."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fpbench import stats
from fpbench.api import CellEvidence, Outcome
from fpbench.api.measurement import Column
from fpbench.builtin.metrics.shared import match_of
from fpbench.execute.machine import thread_count
from fpbench.execute.problems import Problem, problem_of
from fpbench.execute.records import all_records
from fpbench.execute.request import Request
from fpbench.plan import Cell, Plan
from fpbench.plan.stages import cell_label
from fpbench.stages.measuring import Measurer
from fpbench.stages.resources import environment
from fpbench.store import RecordLog, Store

_TOLERANCE = 1e-9
_LOG10 = math.log(10)


@dataclass
class Rescored:
    """What came of it.

    Attributes:
        cells: cells that were measured again.
        numbers: rows in them.
        changed: (cell, metric and variant, former value, new value) of rows that differ.
        fresh: cells that had no numbers of these versions of the measures.
        lacking: (cell, number of readings that are not stored) of cells that could not be.
        failed: (cell, reason) of cells whose readings give no numbers.
    """

    cells: int = 0
    numbers: int = 0
    changed: list[tuple[str, str, Any, Any]] = field(default_factory=list)
    fresh: int = 0
    lacking: list[tuple[str, int]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Recomputed:
    """A cell's numbers, made again.

    Attributes:
        cell: the cell.
        rows: its numbers; empty where it is refused, lacks readings or fails.
        about: what records say of it beside; see `Measurer.about`.
        lacking: number of readings that are not stored.
        problem: why its readings give no numbers.
    """

    cell: Cell
    rows: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    lacking: int = 0
    problem: Problem | None = None


def rescore(plan: Plan, request: Request, folder: Path, command: str, *, write: bool) -> Rescored:
    """Measure every cell again whose readings are stored.

    Args:
        plan: what was run.
        request: how; only its store and threads matter.
        folder: of the run, where records go.
        command: how to repeat it, for the records.
        write: store what changed, and write records; else only compare.
    """
    store = Store(Path(request.store))
    measurer, found = Measurer(plan, store), Rescored()
    outcomes: dict[str, tuple[Outcome, str]] = {}
    for again in recomputed(measurer, plan.cells):
        cell, label = again.cell, cell_label(again.cell)
        if cell.refusal is not None:
            outcomes[cell.key] = (Outcome.REFUSED, cell.refusal.reason)
        elif cell.fault:
            outcomes[cell.key] = (Outcome.FAILED, cell.fault)
        elif again.lacking:
            found.lacking.append((label, again.lacking))
            if not store.has(cell.key):
                reason = f"{again.lacking} readings are not stored; run the suite"
                outcomes[cell.key] = (Outcome.BLOCKED, reason)
        elif again.problem is not None:
            found.failed.append((label, again.problem.reason))
            outcomes[cell.key] = (again.problem.outcome, again.problem.reason)
        else:
            _count(found, cell, again.rows, store, drop=write)
            if write and not store.has(cell.key):
                device = store.meta(cell.fit.key)["device"]
                measurer.keep(cell, again.rows, environment(device, thread_count(request)))
            elif not store.has(cell.key):
                outcomes[cell.key] = (Outcome.BLOCKED, "not scored yet")
    if write:
        records = all_records(plan, store, outcomes, command)
        RecordLog(folder / "records.jsonl").update(records)
    return found


def recomputed(measurer: Measurer, cells: Iterable[Cell]) -> Iterator[Recomputed]:
    """Every cell with its numbers made from the store, or why there are none."""
    for cell in cells:
        yield Recomputed(cell) if not cell.open else _again(measurer, cell)


def _again(measurer: Measurer, cell: Cell) -> Recomputed:
    try:
        if missing := measurer.missing(cell):
            return Recomputed(cell, lacking=len(missing))
        return Recomputed(cell, measurer.rows(cell), measurer.about(cell))
    except Exception as error:  # noqa: BLE001 - one cell's fault must not stop others
        return Recomputed(cell, problem=problem_of(cell.key, cell_label(cell), error))


def _count(
    found: Rescored, cell: Cell, rows: list[dict[str, Any]], store: Store, *, drop: bool
) -> None:
    """Compare with what is stored; what differs is dropped if asked."""
    found.cells += 1
    found.numbers += len(rows)
    if not store.has(cell.key):
        found.fresh += 1
        return
    changed = _changed(cell_label(cell), store.meta(cell.key)["rows"], rows)
    found.changed += changed
    if drop and changed:
        store.drop(cell.key)


def image_rows(plan: Plan, store: Store) -> Iterator[dict[str, Any]]:
    """What is read from every single image of a user's copy, with its p-values.

    One row for each image: how many bits are the owner's, which issued user fits best, the chance
    that a uniform code fits the image as well as the owner's does (`log10_p`), and that any of the
    N registered fits it as well as the best (`log10_p_any`); both empty where codes are not
    uniform. Of methods that give no bits `own_score` and `best_score` stand instead, the owner's
    and the largest, in deviations of images of nobody; of a presence they are one.
    """
    measurer = Measurer(plan, store)
    for cell in plan.cells:
        if not cell.open or measurer.missing(cell):
            continue
        evidence = measurer.evidence(cell)
        if not evidence.single:
            continue
        about = {
            "method": cell.fit.method.label,
            "training_seed": cell.fit.seed,
            "point": cell.point.label,
        }
        read = _bits_read if evidence.gives == "bits" else _scores_read
        for user, column in enumerate(evidence.copies):
            for image, row in enumerate(read(evidence, column, user)):
                yield about | {"user": user, "image": image} | _NOTHING_READ | row


_NOTHING_READ = dict.fromkeys(
    ("bits", "right_bits", "best_user", "best_match", "log10_p", "log10_p_any", "own_score",
     "best_score"), "",
)  # fmt: skip


def _bits_read(evidence: CellEvidence, column: Column, user: int) -> Iterator[dict[str, Any]]:
    bits, n = evidence.codes.shape[1], evidence.registered
    match = stats.matches(np.asarray(column["logits"]) > 0, evidence.codes)
    own, best = match[:, user], match.max(axis=1)
    p, p_any = stats.log_tail(bits, own), stats.log_any_tail(bits, best, n)
    for image in range(len(match)):
        yield {
            "bits": bits,
            "right_bits": int(own[image]),
            "best_user": int(match[image].argmax()),
            "best_match": int(best[image]),
            "log10_p": p[image] / _LOG10 if evidence.uniform else "",
            "log10_p_any": p_any[image] / _LOG10 if evidence.uniform else "",
        }


def _scores_read(evidence: CellEvidence, column: Column, user: int) -> Iterator[dict[str, Any]]:
    match = match_of(evidence, np.asarray(column["logits"]))
    users = range(match.codes)
    table = np.stack([match.of(np.full(match.images, each)) for each in users], axis=1)
    alone = evidence.gives == "presence"
    for scores in table:
        yield {
            "best_user": "" if alone else int(scores.argmax()),
            "own_score": float(scores[0 if alone else user]),
            "best_score": float(scores.max()),
        }


def _changed(
    label: str, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> list[tuple[str, str, Any, Any]]:
    """Rows whose value, interval or outcome is another one."""
    old = {(row["metric"], row["variant"]): row for row in before}
    found = []
    for row in after:
        key = (row["metric"], row["variant"])
        former = old.pop(key, None)
        if former is None or not _same(former, row):
            found.append((label, " ".join(key).strip(), (former or {}).get("value"), row["value"]))
    gone = [(label, " ".join(key).strip(), row["value"], None) for key, row in old.items()]
    return found + gone


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a["outcome"] == b["outcome"] and all(
        _close(a[end], b[end]) for end in ("value", "low", "high")
    )


def _close(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)

"""Every number of a finished run, computed once more from the files of its store.

    python tests/simulation/stored_keys.py runs/quickstart > keys.json
    python tests/simulation/recompute.py runs/quickstart keys.json

An audit: numpy, scipy and the standard library alone, formulas from the specification, nothing of
fpbench. Prints one line for each metric: fields compared, largest difference. Exits with 1 where a
field differs by more than 1e-9 (absolute or relative), or where a record has a metric or a field
that is not known here, so that nothing is passed over in silence.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from audit import board, codes, files, measures, pictures, rules

TOLERANCE = 1e-9
ENOUGH_COPIES = 10  # an attack on fewer decides nothing, unless the population is smaller
COPIED = {
    "cost": "wall seconds as measured",
    "training": "a curve as it was logged",
    "attack-cost": "wall seconds as measured",
}
"""Metrics that are no computation."""
COMPARED = ("value", "low", "high", "rule", "n", "clusters", "by_copy", "outcome", "detail")
UNCOMPUTED = {"secrecy": {"same_training"}}
"""Parts of details that tell what a method is; no file of the store says it."""


Rows = dict[tuple[str, str], dict[str, Any]]
Computed = dict[str, Rows]
"""Cell -> (metric, variant) -> row."""


@dataclass
class Tally:
    """Fields of one metric."""

    fields: int = 0
    largest: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def compare(self, where: str, stated: Any, found: Any) -> None:
        """Count a field, or all fields of a list or table, and keep what differs."""
        if isinstance(stated, dict) and isinstance(found, dict):
            for name in sorted(stated.keys() | found.keys()):
                if name not in stated or name not in found:
                    side = "computed" if name not in stated else "recorded"
                    self.wrong.append(f"{where}.{name}: only {side}")
                else:
                    self.compare(f"{where}.{name}", stated[name], found[name])
        elif isinstance(stated, list) and isinstance(found, list) and len(stated) == len(found):
            for i, pair in enumerate(zip(stated, found, strict=True)):
                self.compare(f"{where}[{i}]", *pair)
        else:
            self._one(where, stated, found)

    def _one(self, where: str, stated: Any, found: Any) -> None:
        self.fields += 1
        if isinstance(stated, str) and isinstance(found, (int, float)):
            stated = float(stated or "nan")  # of a table
        numbers = (int, float)
        if isinstance(stated, numbers) and isinstance(found, numbers) and math.isfinite(found):
            off = abs(stated - found)
            off = min(off, off / max(abs(stated), abs(found), 1e-300))
            self.largest = max(self.largest, off)
            if off <= TOLERANCE:
                return
        elif stated == found:
            return
        self.wrong.append(f"{where}: recorded {stated!r}, computed {found!r}")


@dataclass(frozen=True)
class Run:
    """The files of a finished run.

    Attributes:
        suite: as it was run.
        records: the current ones.
        store: its artefacts.
        keys: cell -> where its readings lie.
        page: method -> its line in the table of the page.
        fitted: key of features of real images -> what was fitted to them.
    """

    suite: dict[str, Any]
    records: list[dict[str, Any]]
    store: files.Store
    keys: dict[str, Any]
    page: dict[str, dict[str, str]]
    fitted: dict[str, tuple[rules.Gaussian, int]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, store: Path, keys: Path) -> Run:
        """The run of a folder."""
        return cls(
            json.loads((folder / "suite.json").read_bytes()),
            files.current_records(folder / "records.jsonl"),
            files.Store(store),
            json.loads(keys.read_bytes()),
            files.table(folder / "page" / "leaderboard.csv"),
        )

    def cell(self, record: dict[str, Any]) -> measures.Cell:
        """What is stored of the cell that a record is of."""
        at, suite, inputs = self.keys[record["cell"]], self.suite, record["inputs"]
        order = (*at["readings"], *(at["negatives"][s] for s in sorted(at["negatives"])))
        if files.sha256(list(order)) != inputs["readings"]:
            raise files.AuditError(f"cell {record['cell']}: the keys are not those of its record")
        model = record["point"]["model"]
        level = record["level"]
        users = self._users(model)
        parts = [self._merged(key, at["columns"]) for key in at["readings"]]
        if len(parts) != len(users):
            raise files.AuditError(f"cell {record['cell']}: {len(parts)} readings of {len(users)}")
        negatives = {s: self.store.column(k, at["column"]) for s, k in at["negatives"].items()}
        asked = level == "none" and suite["secrecy"]["steps"]
        return measures.Cell(
            level=level,
            gate=self._gate(record),
            codes=self._codes(record),
            users=users,
            copies=parts,
            negatives=dict(sorted(negatives.items())),
            host=self.store.column(*at["untouched_host"]),
            reference=self._real(inputs["reference"])[0],
            real_images=self._real(inputs["reference"])[1],
            registered=suite["score"]["registered"],
            false_rate=suite["score"]["false_rate"],
            distance_count=self._distance_count(),
            secrecy=self.store.artefact(at["secrecy"]) if asked else {},
        )

    def _merged(self, key: str, columns: list[str]) -> measures.Arrays:
        found: measures.Arrays = {}
        for column in columns:
            found |= self.store.column(key, column)
        return found

    def _users(self, model: dict[str, Any] | None) -> list[tuple[int, ...]]:
        """Disjoint, in order; a coalition has as many users as its strength says."""
        copies, size = self.suite["population"]["copies"], 1
        if model is not None:
            attack = next(a for a in self.suite["attacks"] if a["label"] == model["label"])
            copies = min(attack["copies"] or copies, copies)
            size = int(model["strength"]) if model["kind"] == "coalition" else 1
        return [tuple(range(u, u + size)) for u in range(0, copies - size + 1, size)]

    def _real(self, key: str) -> tuple[rules.Gaussian, int]:
        """Of the features of real images, fitted once, and how many there are."""
        if key not in self.fitted:
            features = self.store.artefact(key)["features"]
            self.fitted[key] = rules.Gaussian.of(features), len(features)
        return self.fitted[key]

    def _distance_count(self) -> int:
        """The fewest images of untouched copies, the host, attacked copies that are enough."""
        population = self.suite["population"]
        everyone, images = population["copies"], population["images"]
        models = [r["point"].get("model") for r in self.records]
        labels = {model["label"] for model in models if model and model["kind"] == "model"}
        counts = [everyone * images, self.suite["negatives"]["host"]]
        for attack in self.suite["attacks"]:
            copies = min(attack["copies"] or everyone, everyone)
            if attack["label"] in labels and copies >= min(ENOUGH_COPIES, everyone):
                counts.append(copies * (attack["images"] or images))
        return min(counts)

    def _codes(self, record: dict[str, Any]) -> Any:
        """The issued codes; that they are these is told by the issued copies."""
        fit, host = record["inputs"]["fit"], record["inputs"]["host"]
        users = self.suite["population"]["copies"]
        found = codes.issued_codes(record["suite"]["seed"], record["method"]["bits"], users)
        for user, code in enumerate(found):
            part = {"version": 2, "kind": "issue", "fit": fit, "user": user}
            # Of a method that was trained without the host, the host stands beside its key.
            keys = [files.sha256(each) for each in (part, {**part, "host": host})]
            told = [self.store.manifest(k, "main")["meta"] for k in keys if self.store.has(k)]
            if not told or told[0]["code"] != code.astype(int).tolist():
                raise files.AuditError(
                    f"method {record['method']['label']}: no copy was issued to user {user} with "
                    "the code that the rule draws; codes of its own are not known here"
                )
        return found

    def _gate(self, record: dict[str, Any]) -> float:
        """What the method declares; only records tell it."""
        cell = record["cell"]
        gates = {
            r["detail"]["gate"] for r in self.records if r["cell"] == cell and "gate" in r["detail"]
        }
        return gates.pop() if gates else math.nan


def audit(run: Run) -> dict[str, Tally]:
    """Metric -> what was compared."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    by_cell: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in run.records:
        if record["metric"] and record["metric"] not in COPIED:
            by_cell[record["cell"]].append(record)
    found: Computed = {}
    for cell, records in by_cell.items():
        stored = run.cell(records[0])
        rows = [*measures.rows(stored), *pictures.rows(stored)]
        found[cell] = {(row["metric"], row["variant"]): row for row in rows}
        compare_cell(run, tallies, records, found[cell])
    compare_page(run, tallies["(page)"], board.lines(entries(run, found)))
    return tallies


def compare_cell(
    run: Run, tallies: dict[str, Tally], records: list[dict[str, Any]], computed: Rows
) -> None:
    """The records of a cell with its computed rows; none of either may be left."""
    left = dict(computed)
    for record in records:
        name, variant = record["metric"], record["variant"]
        where = f"{record['method']['label']}, {record['point']['label']}: {variant or name}"
        row = left.pop((name, variant), None)
        if record["outcome"] == "unavailable":
            continue  # a published network that is not on the machine
        if row is None:
            tallies[name].wrong.append(f"{where}: not known here")
            continue
        _compare_row(tallies[name], where, record, row)
        stated = [record["damage"], record["budget"]]
        tallies["(damage)"].compare(where, stated, _damage(run, record, computed))
    for name, variant in left:
        tallies[name].wrong.append(f"{name} {variant}: computed, but no record has it")


def compare_page(run: Run, tally: Tally, lines: dict[str, dict[str, Any]]) -> None:
    """The table of the page with the computed lines."""
    if not run.page:
        tally.wrong.append("page/leaderboard.csv: not there, so nothing of it is shown")
    for method, line in lines.items():
        for name, value in line.items():
            tally.compare(f"{method}: {name}", run.page[method][name], value)


def entries(run: Run, computed: Computed) -> dict[str, board.Entry]:
    """The methods of a run that have a score, from the computed rows of their cells."""
    found: dict[str, board.Entry] = {}
    for method in dict.fromkeys(r["method"].get("label") for r in run.records):
        own = [r for r in run.records if r["method"].get("label") == method and r["cell"]]
        if not run.page.get(method, {}).get("score"):
            continue
        trainings, converged = [], True
        for seed in sorted({r["training_seed"] for r in own}):
            cells = {r["point"]["label"]: r for r in own if r["training_seed"] == seed}
            trainings.append(training(run, cells, computed))
            untouched = computed[cells["none"]["cell"]]
            converged = converged and untouched["bit-accuracy", ""]["detail"]["converged"]
        found[method] = board.Entry(trainings, own[0]["method"].get("trains", True), converged)
    return found


def training(run: Run, cells: dict[str, dict[str, Any]], computed: Computed) -> board.Training:
    """One training: label of a point -> any record of its cell."""
    points: dict[str, list[board.Point]] = {}
    everyone = run.suite["population"]["copies"]
    for attack in run.suite["attacks"]:
        if not board.decides(attack["copies"], everyone):
            continue
        for strength in attack["strengths"] or [None]:
            label = attack["label"] if strength is None else f"{attack['label']} {strength:g}"
            point = cells[label]["point"]
            about = point["model"] or point["image"]
            if about["kind"] in ("image", "model"):
                own = board.Point(about, label, about["kind"] == "image")
                points.setdefault(attack["label"], []).append(own)
    found = {
        label: _of_score(computed[record["cell"]])
        for label, record in cells.items()
        if record["cell"] in computed and record.get("effect") != "none"
    }
    return board.Training(run.suite["score"], points, found["none"], found)


def _damage(run: Run, record: dict[str, Any], rows: Rows) -> list[float | None]:
    """Damage and budget of the one attack behind a record."""
    image, model, budgets = record["point"]["image"], record["point"]["model"], run.suite["score"]
    if image and not model:
        return [1 - rows["damage", "ssim"]["value"], budgets["sample_budget"]]
    if model and not image and model["kind"] == "model":
        distance = rows["frechet-proxy", "copies"]["detail"]
        return [distance["damage"], budgets["damage_budget"]]
    return [None, None]


def _of_score(rows: Rows) -> board.Cell:
    likeness = rows.get(("damage", "ssim"), {}).get("value", 1.0)
    distance = rows.get(("frechet-proxy", "copies"), {}).get("detail", {})
    traced = rows.get(("attribution", ""), {})
    rates = np.array(traced.get("by_copy", []))
    images = traced.get("n", 0) // max(traced.get("clusters", 1), 1)
    return board.Cell(rates, images, distance.get("damage", 1 - likeness))


def _compare_row(tally: Tally, where: str, record: dict[str, Any], found: dict[str, Any]) -> None:
    left_out = measures.WORDS | UNCOMPUTED.get(record["metric"], set())
    stated = dict(record)
    stated["detail"] = {k: v for k, v in record["detail"].items() if k not in left_out}
    stated["detail"] = _without_words(stated["detail"])
    for name in COMPARED:
        tally.compare(f"{where} {name}", stated[name], found[name])


def _without_words(detail: Any) -> Any:
    if not isinstance(detail, dict):
        return detail
    return {k: _without_words(v) for k, v in detail.items() if k not in measures.WORDS}


def main() -> int:
    """Compare a run with its store."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("keys", type=Path, help="what stored_keys.py printed")
    parser.add_argument("--store", type=Path, help="folder of its artefacts, if not beside it")
    asked = parser.parse_args()
    run = Run.read(asked.run, asked.store or asked.run.parent / "store", asked.keys)
    tallies = audit(run)
    say = sys.stdout.write
    for name, tally in sorted(tallies.items()):
        say(f"{name:18} {tally.fields:7,} fields, largest difference {tally.largest:.1e}")
        say(f", {len(tally.wrong)} WRONG\n" if tally.wrong else "\n")
        for line in tally.wrong[:5]:
            say(f"    {line}\n")
    return int(any(tally.wrong for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())

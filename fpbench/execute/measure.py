"""Measures cells from what is stored, and turns them into records. numpy only, no torch."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np

from fpbench.api import CellEvidence, Column, Outcome, Row, StoreError, digest
from fpbench.plan import AttackPoint, Cell, Fit, Plan, issued_codes
from fpbench.spec.model import component_json
from fpbench.store import Store

SCHEMA_VERSION = 1
ISSUE = "issue"


def issue_key(fit: Fit, user: int, code: np.ndarray) -> str:
    """Key of one user's issued state."""
    return digest({"kind": ISSUE, "fit": fit.key, "user": user, "code": code.tolist()})


class Measurer:
    """Measures the cells of one plan.

    Args:
        plan: what was run.
        store: where the readings lie.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan = plan
        self._store = store
        # One copy's shard serves every image point, so the shards of a fit are kept at hand.
        self._shard = lru_cache(maxsize=512)(store.shard)
        self._columns = lru_cache(maxsize=4096)(store.columns)

    def missing(self, cell: Cell) -> list[str]:
        """Keys of readings and nulls that a cell still lacks."""
        column = self._plan.column(cell.point.image)
        return [key for key in self._inputs(cell) if column not in self._columns(key)]

    def measure(self, cell: Cell, environment: Mapping[str, Any]) -> None:
        """Compute all numbers of a cell and store them."""
        evidence = self._evidence(cell)
        rows = [
            {"metric": metric.name, **_plain(row)}
            for metric in self._plan.metrics
            for row in metric.measure(evidence)
        ]
        meta = {
            "rows": rows,
            "environment": dict(environment),
            "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "inputs": digest(self._inputs(cell)),
            "tuned": self._tuned(cell),
        }
        self._store.put(cell.key, {}, meta)

    def measured(self, cell: Cell) -> bool:
        """True when the cell's numbers are stored."""
        return self._store.has(cell.key)

    def column(self, key: str, image: AttackPoint | None) -> Column:
        """The stored tensors of an image point in a reading.

        Raises:
            StoreError: the reading lacks the column, or is damaged.
        """
        column = self._plan.column(image)
        shard = self._columns(key).get(column)
        if shard is None:
            raise StoreError(f"store: expected column {column} of reading {key}, got none", key)
        prefix = f"{column}/"
        arrays = self._shard(key, shard).arrays
        return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

    # -- evidence ----------------------------------------------------------------------------

    def _inputs(self, cell: Cell) -> list[str]:
        plan, fit, model = self._plan, cell.fit, cell.point.model
        subjects = range(len(plan.subjects(model)))
        keys = [plan.reading_key(fit, subject, model) for subject in subjects]
        if plan.host_is_negative(model):
            keys.append(plan.null_key(fit, "host", model))
        if model is None:
            keys.append(plan.null_key(fit, "real", None))
        return keys

    def _evidence(self, cell: Cell) -> CellEvidence:
        plan, fit, point = self._plan, cell.fit, cell.point
        method = fit.method.component
        negatives = {}
        if plan.host_is_negative(point.model):
            negatives["host"] = self.column(plan.null_key(fit, "host", point.model), point.image)
        if point.model is None:
            negatives["real"] = self.column(plan.null_key(fit, "real", None), point.image)
        subjects = plan.subjects(point.model)
        readings = [plan.reading_key(fit, index, point.model) for index in range(len(subjects))]
        return CellEvidence(
            placement=str(method.placement),
            keeps_sample=method.keeps_sample,
            gate=method.gate,
            level=point.level,
            codes=issued_codes(method, plan.suite.header.seed, plan.suite.population.copies),
            users=subjects,
            copies=[self.column(key, point.image) for key in readings],
            negatives=negatives,
            clean_host=self.column(plan.null_key(fit, "host", None), None),
            reference=self._store.get(plan.reference_key).arrays["features"],
            registered=plan.suite.score.registered,
            false_rate=plan.suite.score.false_rate,
            costs=self._costs(fit),
            attack_costs=[self._cost(key, point.image) for key in readings],
            attack_steps=plan.attack_steps(cell),
        )

    def _tuned(self, cell: Cell) -> dict[str, Any]:
        """The parameters that an attack was given because they served best; empty if fixed."""
        model = cell.point.model
        if model is None or not model.attack.candidates:
            return {}
        models = self._plan.tuned_attacks(cell.fit)[model.attack.label]
        chosen = self._store.meta(self._plan.tuning_key(cell.fit, models))["chosen"]
        params = model.attack.candidates[chosen].params.model_dump(mode="json")
        return {name: params[name] for name in model.attack.options.tune}

    def _cost(self, reading: str, image: AttackPoint | None) -> dict[str, float]:
        shard = self._columns(reading)[self._plan.column(image)]
        cost: dict[str, float] = self._shard(reading, shard).meta["cost"]
        return cost

    def _costs(self, fit: Fit) -> dict[str, float]:
        plan, store = self._plan, self._store
        host, own = store.meta(plan.host_key)["cost"], store.meta(fit.key)["cost"]
        codes = issued_codes(
            fit.method.component, plan.suite.header.seed, plan.suite.population.copies
        )
        issued = [store.meta(issue_key(fit, u, c))["cost"]["wall_s"] for u, c in enumerate(codes)]
        real = plan.null_key(fit, "real", None)
        return {
            "host_fit_s": host["wall_s"],
            "fit_s": own["wall_s"],
            "issue_s": statistics.median(issued),
            "extract_s_per_image": self._cost(real, None)["extract_s_per_image"],
            **{k: v for k, v in own.items() if k.startswith("peak_")},
        }


# -- records -----------------------------------------------------------------------------------


def cell_records(plan: Plan, cell: Cell, store: Store, command: str) -> list[dict[str, Any]]:
    """Every record of a measured cell."""
    meta = store.meta(cell.key)
    directions = {metric.name: metric for metric in plan.metrics}
    records = []
    for row in meta["rows"]:
        metric = directions[row["metric"]]
        record = _base(plan, cell)
        if meta["tuned"]:
            record["point"]["model"]["tuned"] = meta["tuned"]
        record |= row | {
            "metric_version": metric.version,
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
            "environment": meta["environment"],
            "created_utc": meta["created_utc"],
            "command": command,
        }
        record["inputs"] = {
            "host": plan.host_key,
            "fit": cell.fit.key,
            "reference": plan.reference_key,
            "readings": meta["inputs"],
        }
        records.append(_identified(record))
    return records


def outcome_record(
    plan: Plan, cell: Cell, outcome: Outcome, reason: str, command: str
) -> dict[str, Any]:
    """The one record of a cell that has no numbers, and why."""
    record = _base(plan, cell)
    detail = {"refused_by": cell.refused_by} if outcome is Outcome.REFUSED else {}
    row = Row(outcome=outcome, reason=reason, detail=detail)
    record |= {"metric": "", **_plain(row), "command": command}
    return _identified(record)


def unavailable_records(plan: Plan, command: str) -> list[dict[str, Any]]:
    """One record for each component that the suite names and no plugin could offer."""
    return [
        _identified(
            {
                **_suite_part(plan),
                "cell": "",
                "level": "",
                "method": {"label": item.label} if item.kind == "methods" else {},
                "training_seed": 0,
                "point": {"label": "" if item.kind == "methods" else item.label},
                "metric": "",
                **_plain(Row(outcome=Outcome.UNAVAILABLE, reason=item.reason)),
                "command": command,
            }
        )
        for item in plan.suite.unavailable
    ]


def _base(plan: Plan, cell: Cell) -> dict[str, Any]:
    method = cell.fit.method
    return {
        **_suite_part(plan),
        "cell": cell.key,
        "level": cell.point.level,
        "method": {
            "label": method.label,
            "placement": str(method.component.placement),
            "bits": method.component.bits,
            **component_json(method.component),
        },
        "training_seed": cell.fit.seed,
        "point": {
            "label": cell.point.label,
            "model": _attack_json(cell.point.model),
            "image": _attack_json(cell.point.image),
        },
    }


def _suite_part(plan: Plan) -> dict[str, Any]:
    header = plan.suite.header
    return {
        "schema_version": SCHEMA_VERSION,
        "suite": {"name": header.name, "version": header.version, "seed": header.seed},
        "modality": "image",
        "dataset": component_json(plan.suite.dataset),
        "host": component_json(plan.suite.host),
    }


def _attack_json(point: AttackPoint | None) -> dict[str, Any] | None:
    if point is None:
        return None
    component, options = point.attack.component, point.attack.options
    knob = component.strength
    return {
        **component_json(component),
        "label": point.attack.label,
        "kind": point.kind,
        "family": component.family,
        "access": sorted(component.access),
        "strength": point.strength,
        "strength_name": knob.name if knob is not None else "",
        "strength_unit": knob.unit if knob is not None else "",
        "scored": not options.scored or point.strength in options.scored,
        "clean_images": options.clean_images,
    }


def _identified(record: dict[str, Any]) -> dict[str, Any]:
    identity = {
        "suite": record["suite"],
        "method": record["method"].get("label", ""),
        "training_seed": record["training_seed"],
        "point": record["point"]["label"],
        "metric": record["metric"],
        "variant": record["variant"],
    }
    return {"record_id": digest(identity), **record}


def _plain(row: Row) -> dict[str, Any]:
    data = asdict(row)
    data["outcome"] = str(row.outcome)
    data["by_copy"] = [float(v) for v in row.by_copy]
    return {k: _number(v) for k, v in data.items()}


def _number(value: Any) -> Any:
    """Plain Python values; what is not finite becomes None, which JSON has a word for."""
    if isinstance(value, Mapping):
        return {k: _number(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_number(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def all_records(
    plan: Plan, store: Store, outcomes: Mapping[str, tuple[Outcome, str]], command: str
) -> Iterable[dict[str, Any]]:
    """Records of every cell of a plan, measured or not.

    Args:
        plan: the plan.
        store: its store.
        outcomes: cell key -> outcome and reason, for cells that were not measured.
        command: how to repeat the run.
    """
    yield from unavailable_records(plan, command)
    for cell in plan.cells:
        if cell.key in outcomes:
            outcome, reason = outcomes[cell.key]
            yield outcome_record(plan, cell, outcome, reason, command)
        else:
            yield from cell_records(plan, cell, store, command)

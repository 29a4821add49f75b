"""What a record says: the numbers of a cell, or why it has none, and what it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fpbench.api import Gives, Outcome, Row, digest, tier_of
from fpbench.plan import AttackPoint, Cell, Plan
from fpbench.plan.data import noun
from fpbench.plan.keys import ACCEPTED
from fpbench.spec.model import component_json
from fpbench.stages.measuring import plain
from fpbench.stages.origins import cell_origins
from fpbench.store import Store
from fpbench.store.schema import SCHEMA_VERSION

_FIRST = {
    Gives.BITS: (("bit-accuracy", ""), ("attribution", "")),
    Gives.SCORES: (("attribution", "closed"), ("attribution", "")),
    Gives.PRESENCE: (("detection", "auroc"), ("detection", "")),
}
"""What a method gives -> the numbers that come first: that of its gate, and that of its table."""


def cell_records(
    plan: Plan, cell: Cell, meta: Mapping[str, Any], command: str
) -> list[dict[str, Any]]:
    """Every record of a measured cell.

    Args:
        plan: the plan.
        cell: one of its cells.
        meta: what `Measurer.keep` stores of it.
        command: how to repeat the run.
    """
    directions = {metric.name: metric for metric in plan.metrics}
    # Of one cell all records share the same parts.
    base = _base(plan, cell, meta["origins"]) | {
        "damage": _damage(plan, cell, meta["rows"]),
        "effect": meta.get("effect", ""),
        "environment": meta["environment"],
        "created_utc": meta["created_utc"],
        "command": command,
        "inputs": {
            "host": plan.host_key,
            "fit": cell.fit.key,
            "reference": plan.reference_key,
            "readings": meta["inputs"],
            **({ACCEPTED: True} if meta.get(ACCEPTED) else {}),
        },
    }
    if meta["tuned"]:
        base["point"]["model"]["tuned"] = meta["tuned"]
    records = []
    for row in meta["rows"]:
        metric = directions[row["metric"]]
        about = {
            "metric_version": metric.version,
            # What samples are compared by has the unit that their modality tells.
            "unit": plan.modality.titles.get(row["variant"], ("", metric.unit))[1],
            "higher_is_better": metric.higher_is_better,
        }
        records.append(_identified(base | row | about))
    return records


def outcome_record(
    plan: Plan, cell: Cell, outcome: Outcome, reason: str, command: str
) -> dict[str, Any]:
    """The one record of a cell that has no numbers, and why."""
    record = _base(plan, cell, cell_origins(plan, cell))
    detail = {"refused_by": cell.refused_by} if outcome is Outcome.REFUSED else {}
    row = Row(outcome=outcome, reason=reason, detail=detail)
    record |= {"metric": "", **plain(row), "command": command}
    return _identified(record)


def unavailable_records(plan: Plan, command: str) -> list[dict[str, Any]]:
    """One record for each component that the suite names and no plugin could offer."""
    return [
        _identified(
            {
                **_suite_part(plan),
                "cell": "",
                "level": "",
                "effect": "",
                "method": {"label": item.label} if item.kind == "methods" else {},
                "training_seed": 0,
                "point": {"label": "" if item.kind == "methods" else item.label},
                "metric": "",
                **plain(Row(outcome=Outcome.UNAVAILABLE, reason=item.reason)),
                "command": command,
            }
        )
        for item in plan.suite.unavailable
    ]


def _base(plan: Plan, cell: Cell, origins: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    method, steps = cell.fit.method, plan.attack_steps(cell)
    parts = {
        "model": _attack_json(cell.point.model, steps),
        "image": _attack_json(cell.point.image, plan.image_steps(cell)),
    }
    alone = [part for part in parts.values() if part is not None]
    tier = alone[0]["tier"] if len(alone) == 1 else ""
    shared = _suite_part(plan)
    return {
        **shared,
        **{name: {**shared[name], **origins.get(name, {})} for name in ("dataset", "host")},
        "cell": cell.key,
        "level": cell.point.level,
        "tier": tier,
        "budget": _budget(plan, tier, cell.point.level),
        "damage": None,
        "effect": "",
        "method": {
            "label": method.label,
            "placement": str(method.component.placement),
            "bits": method.component.bits,
            "reads": str(method.component.reads),
            "gives": str(method.component.gives),
            "trains": method.component.trains,
            **component_json(method.component),
            **origins.get("method", {}),
        },
        "training_seed": cell.fit.seed,
        "point": {
            "label": cell.point.label,
            **{k: v and {**v, **origins.get(k, {})} for k, v in parts.items()},
        },
    }


def _budget(plan: Plan, tier: str, level: str) -> float | None:
    """The largest damage that counts in a tier, of images or of models."""
    score = plan.suite.score
    if not tier:
        return None
    return score.sample_budget if level == "image" else score.damage_budget


def _damage(plan: Plan, cell: Cell, rows: Sequence[Mapping[str, Any]]) -> float | None:
    """The damage of the one attack in a cell, in the unit of its budget."""
    found = {(row["metric"], row["variant"]): row for row in rows}
    if cell.point.level == "image":
        if own := found.get(("damage", "distance")):
            distance: float | None = own["value"]
            return distance
        likeness = found.get(("damage", "ssim"), {}).get("value")
        return None if likeness is None else 1 - likeness
    if cell.point.level != "model" or cell.point.image is not None:
        return None
    by = plan.suite.score.damage_by
    layers = [b.name for b in plan.suite.backbones if b.use == "inception"]
    variant = "copies" if by == "frechet-proxy" else layers[0]
    damage: float | None = found.get((by, variant), {}).get("detail", {}).get("damage")
    return damage


def _suite_part(plan: Plan) -> dict[str, Any]:
    header, info = plan.suite.header, plan.facts.info
    # Pages call measures by these; of images they know them.
    titles = {name: list(told) for name, told in plan.modality.titles.items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "suite": {"name": header.name, "version": header.version, "seed": header.seed},
        "modality": info.modality,
        "sample": {
            "modality": info.modality,
            "shape": list(info.shape),
            "dtype": info.dtype,
            "rate": info.rate,
            **({"titles": titles} if titles else {}),
        },
        "dataset": component_json(plan.suite.dataset),
        "host": component_json(plan.suite.host),
    }


def _attack_json(point: AttackPoint | None, steps: int) -> dict[str, Any] | None:
    if point is None:
        return None
    component, options = point.attack.component, point.attack.options
    knob = component.strength
    scored = not options.scored or point.strength in options.scored
    chosen = point.strength in options.samples if options.samples else scored
    return {
        **component_json(component),
        "label": point.attack.label,
        "kind": point.kind,
        "family": component.family,
        "access": sorted(component.access),
        "strength": point.strength,
        "strength_name": knob.name if knob is not None else "",
        "strength_unit": knob.unit if knob is not None else "",
        "scored": scored,
        "tier": tier_of(component, steps),
        "steps": steps,
        "geometric": component.geometric,
        "changes_weights": component.changes_weights,
        "in_samples": component.geometric and chosen,
        "clean_images": options.clean_images,
    }


def record_id(record: Mapping[str, Any]) -> str:
    """The identity of a record: what it is a number of, whatever its value."""
    identity = {
        "suite": record["suite"],
        "method": record["method"].get("label", ""),
        "training_seed": record["training_seed"],
        "point": record["point"]["label"],
        "metric": record["metric"],
        "variant": record["variant"],
    }
    return digest(identity)


def _identified(record: dict[str, Any]) -> dict[str, Any]:
    return {"record_id": record_id(record), **record}


def all_records(
    plan: Plan, store: Store, outcomes: Mapping[str, tuple[Outcome, str]], command: str
) -> Iterator[dict[str, Any]]:
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
            yield outcome_record(plan, cell, *outcomes[cell.key], command)
        else:
            yield from cell_records(plan, cell, store.meta(cell.key), command)


def headline(plan: Plan, store: Store, outcomes: Mapping[str, tuple[Outcome, str]]) -> list[str]:
    """One line for each training: the two numbers of untouched samples that come first."""
    score, lines = plan.suite.score, list[str]()
    for cell in plan.cells:
        if cell.point.label != "none":
            continue
        rows = {}
        if cell.key not in outcomes:
            rows = {(r["metric"], r["variant"]): r for r in store.meta(cell.key)["rows"]}
        first = _FIRST[cell.fit.method.component.gives]
        shown = [f"{' '.join(key).rstrip()} {_shown(rows.get(key, {}))}" for key in first]
        lines.append(f"  {cell.fit.method.label:<28} {'   '.join(shown)}")
    title = (
        f"untouched {noun(plan.facts.modality)}s; attribution among N = {score.registered:,} "
        f"users at a false rate of {score.false_rate:g}:"
    )
    return [title, *lines] if lines else []


def _shown(row: Mapping[str, Any]) -> str:
    value = row.get("value")
    return str(row.get("outcome", "none")) if value is None else f"{value:.4f}"

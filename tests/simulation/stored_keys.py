"""Where a finished run's readings lie, as JSON for `recompute.py`, which cannot derive stage keys.

    python tests/simulation/stored_keys.py runs/quickstart --store runs/store > keys.json

Keys alone, never a number: a key holds digests of source code and can only be made by the planner.
`recompute.py` checks the keys of each cell against the digest that its records carry.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from fpbench.execute.request import read_request
from fpbench.plan import Plan, Want


def keys(plan: Plan) -> dict[str, Any]:
    """Keys of artefacts and columns behind each cell that has any."""
    found: dict[str, Any] = {}
    for cell in plan.cells:
        fit, model = cell.fit, cell.point.model
        if cell.refusal is not None:
            continue
        negatives = {s: plan.null_key(fit, s, model) for s in plan.sources(fit, model)}
        subjects = range(len(plan.subjects(fit, model)))
        wants = [want for want in plan.wants(fit, model) if want.image == cell.point.image]
        found[cell.key] = {
            "readings": [plan.reading_key(fit, i, model) for i in subjects],
            "negatives": negatives,
            "columns": [plan.column(fit, want) for want in wants],
            "column": plan.column(fit, Want(cell.point.image)),
            "untouched_host": [plan.null_key(fit, "host", None), plan.column(fit, Want())],
            "secrecy": plan.secrecy_key(fit),
        }
    return found


def main() -> None:
    """Print the keys of a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--store", type=Path, help="folder of its artefacts")
    parser.add_argument("--plugin", action="append", default=[], help="further plugin module")
    asked = parser.parse_args()
    store = asked.store or asked.run.parent / "store"
    plan, _ = read_request(asked.run, tuple(asked.plugin), store).plan()
    print(json.dumps(keys(plan)))  # noqa: T201 - what the script is for


if __name__ == "__main__":
    main()

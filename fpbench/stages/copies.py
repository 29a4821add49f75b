"""Reads one copy, and the coalitions that it is first in, under everything that is pending."""

from __future__ import annotations

from fpbench.plan import Stage
from fpbench.plan.pending import pending_of_copy
from fpbench.stages.bench import Bench
from fpbench.stages.place import left
from fpbench.stages.reading import by_cell, copy_reader
from fpbench.stages.tuning import tuned


def read_copy(stage: Stage, bench: Bench) -> dict[str, BaseException]:
    """Read everything that is pending of one copy; errors by key of the cell."""
    fit, user = stage.of_fit, stage.of_user
    pending = left(pending_of_copy(bench.plan, bench.store, fit, user), bench.skip)
    if not pending:
        return {}
    reader = copy_reader(bench, fit, user, lambda models: tuned(bench, fit, models))
    return by_cell(stage, reader.run(pending))

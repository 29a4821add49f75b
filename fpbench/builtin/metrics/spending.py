"""What a method costs."""

from __future__ import annotations

from collections.abc import Sequence

from fpbench.api import Card, CellEvidence, Metric, Row
from fpbench.builtin.metrics.reading import NoParams


class Cost(Metric[NoParams]):
    """Seconds to train, per further user and per read image; peak memory of the training."""

    name = "cost"
    version = "1"
    Params = NoParams
    unit = "s, bytes"
    higher_is_better = False
    bounds = (0.0, None)
    card = Card(
        "Cost",
        "measured",
        "Apache-2.0",
        "Wall seconds of the stages as they ran, never of a stage found in the store.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """One row of the untouched cell."""
        return [Row(cost=dict(evidence.costs))] if evidence.level == "none" else []

"""What a method costs."""

from __future__ import annotations

from collections.abc import Sequence

from fpbench.api import Card, CellEvidence, Metric, NoParams, Row


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


class AttackCost(Metric[NoParams]):
    """What an attack on models costs the adversary: seconds for each copy, training steps."""

    name = "attack-cost"
    version = "1"
    Params = NoParams
    unit = "s"
    higher_is_better = None
    bounds = (0.0, None)
    card = Card(
        "Cost of the attack",
        "measured",
        "Apache-2.0",
        "Wall seconds that the attack took on one copy, coalition or victim, as it ran, until it "
        "reached the strength: weaker strengths of the same attack are included.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """One row of each cell whose copies were attacked."""
        if evidence.level in ("none", "image"):
            return []
        seconds = [cost["attack_s"] for cost in evidence.attack_costs]
        cost = {"attack_s": sum(seconds) / len(seconds)}
        return [Row(clusters=len(seconds), detail={"steps": evidence.attack_steps}, cost=cost)]

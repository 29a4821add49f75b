"""What a method costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fpbench.api import Card, CellEvidence, Metric, NoParams, Outcome, Row

_POINTS = 60
_SETTING = ("precision", "pieces", "devices", "device", "choice")


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


class Training(Metric[NoParams]):
    """How a training went: images per second, and the curve of its losses."""

    name = "training"
    version = "1"
    Params = NoParams
    unit = "images/s"
    higher_is_better = None
    bounds = (0.0, None)
    card = Card(
        "Training",
        "measured",
        "Apache-2.0",
        "Images that a phase of a training saw, over the wall seconds of its steps; the curve of "
        "what was logged, thinned to 60 points.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """One row of the untouched cell for each phase of the host's and the method's training."""
        return [
            self._row(f"{who} {phase}", kept)
            for who, phases in evidence.trainings.items()
            for phase, kept in phases.items()
        ]

    def _row(self, variant: str, kept: Mapping[str, Any]) -> Row:
        seconds = kept.get("seconds", 0.0)
        curve = kept["curve"]
        stride = -(-len(curve) // _POINTS)
        # The last point is where a training ended.
        shown = [curve[i] for i in sorted({*range(0, len(curve), stride), len(curve) - 1})]
        names = dict.fromkeys(name for point in shown for name in point if name != "step")
        return Row(
            variant,
            kept["images"] / seconds if seconds else None,
            outcome=Outcome.DONE if seconds else Outcome.NOT_SUPPORTED,
            reason="" if seconds else "its throughput was not measured",
            n=int(kept.get("images", 0)),
            detail={
                **{key: kept[key] for key in _SETTING if key in kept},
                "seconds": seconds,
                "step": [int(point["step"]) for point in shown],
                "curve": {name: [_rounded(point.get(name)) for point in shown] for name in names},
            },
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


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

"""What a metric is given and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Column = Mapping[str, "NDArray[Any]"]
"""Stored tensors of one image point: `logits` (N, K) and what was measured beside."""


class Outcome(StrEnum):
    """How a cell, or one of its numbers, ended. Each looks different on the page."""

    DONE = "done"
    REFUSED = "refused"
    NOT_SUPPORTED = "not-supported"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class CellEvidence:
    """Everything stored about one cell.

    Attributes:
        placement: of the method.
        keeps_sample: of the method.
        gate: least clean bit accuracy that counts as converged.
        level: "none", "image", "model", "coalition" or "forgery" – what was attacked.
        codes: (U, K) bool issued codes of all users.
        users: the users behind each column: one, the members of a coalition, or the user that a
            forgery is to be blamed on; no user is in two.
        copies: this cell's columns, in the same order.
        negatives: source -> column of negatives attacked alike.
        clean_host: column of untouched host images.
        reference: (R, F) features of real images.
        registered: number of registered users N.
        false_rate: family-wise error α.
        costs: measured seconds and bytes by name.
        attack_costs: for each column, the seconds that the attack took.
        attack_steps: training steps that the adversary spent.
    """

    placement: str
    keeps_sample: bool
    gate: float
    level: str
    codes: NDArray[np.bool_]
    users: Sequence[tuple[int, ...]]
    copies: Sequence[Column]
    negatives: Mapping[str, Column]
    clean_host: Column
    reference: NDArray[np.float32]
    registered: int
    false_rate: float
    costs: Mapping[str, float]
    attack_costs: Sequence[Mapping[str, float]] = ()
    attack_steps: int = 0

    @property
    def single(self) -> bool:
        """Whether each column shows images of one user's copy, who is the right one to accuse."""
        return self.level in ("none", "image", "model")


@dataclass(frozen=True)
class Row:
    """One number with all that is needed to defend it.

    Attributes:
        variant: which of the metric's numbers, e.g. "fpr=0.001"; empty if it has one.
        value: the number; None unless done.
        outcome: done, refused or not supported.
        reason: why not done.
        low: lower end of the interval, None where there is none.
        high: upper end.
        rule: how the interval was made.
        n: images behind the number.
        clusters: copies behind it.
        by_copy: the value of each copy, where copies are compared or ranked.
        detail: further plain values (thresholds, counts, realised rates).
        cost: seconds and bytes, which differ from run to run.
    """

    variant: str = ""
    value: float | None = None
    outcome: Outcome = Outcome.DONE
    reason: str = ""
    low: float | None = None
    high: float | None = None
    rule: str = ""
    n: int = 0
    clusters: int = 0
    by_copy: Sequence[float] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)

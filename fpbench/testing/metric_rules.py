"""Rules that metrics keep, tried on cells whose readings are known."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fpbench.api import CellEvidence, ContractError, Metric, Outcome, Row
from fpbench.testing.rules import Broken, Rule, Trial, under, undisturbed
from fpbench.testing.shared_rules import OF_COMPONENTS
from fpbench.testing.world import World

_PAIRS = [(what, name) for what in ("host", "own", "next", "damage") for name in ("psnr", "ssim")]
_COPIES, _IMAGES, _BITS, _FEATURES = 4, 8, 16, 8


def evidence(level: str, share: float) -> CellEvidence:
    """A cell of four copies whose bits are right with a probability.

    Args:
        level: what was attacked: "none", "image" or "model".
        share: of bits that are right.
    """
    rng = np.random.default_rng(0)
    codes = rng.random((_COPIES, _BITS)) < 0.5

    def column(code: np.ndarray | None) -> dict[str, np.ndarray]:
        signs = rng.choice([-1.0, 1.0], (_IMAGES, _BITS))
        if code is not None:
            kept = np.where(rng.random((_IMAGES, _BITS)) < share, 1.0, -1.0)
            signs = np.where(code, 1.0, -1.0) * kept
        return {
            "logits": (signs * rng.uniform(0.5, 2.0, signs.shape)).astype(np.float32),
            "features": rng.normal(size=(_IMAGES, _FEATURES)).astype(np.float32),
            **{f"{what}_{name}": rng.uniform(0.8, 1.0, _IMAGES) for what, name in _PAIRS},
        }

    return CellEvidence(
        placement="post-hoc",
        keeps_sample=True,
        gate=0.9,
        level=level,
        codes=codes,
        users=[(user,) for user in range(_COPIES)],
        copies=[column(code) for code in codes],
        negatives={"real": column(None), "host": column(None)},
        clean_host=column(None),
        reference=rng.normal(size=(64, _FEATURES)).astype(np.float32),
        registered=10,
        false_rate=0.01,
        attack_costs=() if level == "none" else [{"attack_s": 0.1}] * _COPIES,
        costs={"host_fit_s": 1.0, "fit_s": 1.0, "issue_s": 0.1, "extract_s_per_image": 0.001},
    )


class MetricTrial(Trial):
    """A metric.

    Args:
        metric: with its parameters.
        world: unused but for messages; metrics need none.
    """

    def __init__(self, metric: Metric[Any], world: World) -> None:
        super().__init__(f"metric {metric.name}", metric, world)
        self.metric = metric

    def rows(self, level: str, share: float, chance: int = 1) -> Sequence[Row]:
        """Of a cell."""
        return self.once(f"{level} {share} {chance}", lambda: self._rows(level, share, chance))

    def _rows(self, level: str, share: float, chance: int) -> Sequence[Row]:
        cell = evidence(level, share)
        kept = copy.deepcopy(cell)
        made = self.called("measure", lambda: self.metric.measure(cell), chance=chance)
        if not _same_arrays(cell, kept):
            raise Broken(
                "lent", f"{self.who}: expected the evidence untouched, got a changed one; copy it"
            )
        with under("shapes"):
            self._check(made)
        return made

    def _check(self, made: object) -> None:
        if not isinstance(made, list | tuple) or not all(isinstance(row, Row) for row in made):
            raise ContractError(f"{self.who}: expected a list of fpbench.api.Row, got {made!r}")
        low, high = self.metric.bounds
        for row in made:
            done = row.outcome is Outcome.DONE
            if done and row.value is not None and not math.isfinite(row.value):
                raise ContractError(
                    f"{self.who}: expected a finite number where it is done, got {row.value}; say "
                    "Outcome.NOT_SUPPORTED or REFUSED with a reason where there is none"
                )
            if not done and not row.reason:
                raise ContractError(f"{self.who}: expected a reason why it is {row.outcome}")
            value = row.value
            if (
                done
                and value is not None
                and ((low is not None and value < low) or (high is not None and value > high))
            ):
                raise ContractError(
                    f"{self.who}: expected numbers within its bounds {self.metric.bounds}, got "
                    f"{value:g}; widen `bounds`"
                )


def _same_arrays(one: CellEvidence, other: CellEvidence) -> bool:
    pairs = zip([one.clean_host, *one.copies], [other.clean_host, *other.copies], strict=True)
    return np.array_equal(one.codes, other.codes) and all(
        np.array_equal(array, second[name])
        for first, second in pairs
        for name, array in first.items()
    )


_CELLS = (("none", 1.0), ("image", 0.75), ("model", 0.5))


def _declared(trial: MetricTrial) -> str:
    metric = trial.metric
    for name in ("unit", "higher_is_better", "bounds"):
        if not hasattr(metric, name):
            raise ContractError(
                f"{trial.who}: expected the class attribute `{name}`, got none; tables print it"
            )
    bounds: object = metric.bounds
    if not (isinstance(bounds, tuple) and len(bounds) == 2):
        raise ContractError(
            f"{trial.who}: expected `bounds` of two, None for open, got {metric.bounds!r}"
        )
    return f"{metric.unit or 'a share'}, {metric.bounds}"


def _runs(trial: MetricTrial) -> str:
    found = [len(trial.rows(level, share)) for level, share in _CELLS]
    return f"{sum(found)} rows of {len(found)} cells"


def _shapes(trial: MetricTrial) -> str:
    _runs(trial)
    return ""


def _repeatable(trial: MetricTrial) -> str:
    for level, share in _CELLS:
        if repr(trial.rows(level, share)) != repr(trial.rows(level, share, 2)):
            raise ContractError(
                f"{trial.who}: expected the same numbers twice, got others; draw from a generator "
                "with a seed of its own"
            )
    undisturbed(trial)
    return ""


RULES: tuple[Rule, ...] = (
    *OF_COMPONENTS,
    Rule("declared", "unit, direction and bounds are told", _declared),
    Rule("runs", "it measures cells without, and under, attack", _runs),
    Rule("shapes", "its rows are finite, within bounds, or say why not", _shapes),
    Rule("lent", "what is stored stays as it is", _shapes),
    Rule("repeatable", "the same cell gives the same numbers", _repeatable),
)

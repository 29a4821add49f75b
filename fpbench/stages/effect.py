"""Whether an attack on a copy did anything to it: compared by content, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from fpbench.api import Attack, CoalitionAttack, Conditions, Generator

__all__ = ["effect_of"]

_POST = "post"
_SEEDS = (0, 1)


def effect_of(
    attack: Attack[Any], copy: Generator, attacked: object, conditions: Conditions = ()
) -> dict[str, bool]:
    """What is kept with the reading of an attacked copy.

    Args:
        attack: an attack without a knob is done or not, and a coalition is judged by whom it leads
            to: nothing is kept of these.
        copy: as it was.
        attacked: what the attack made of it; of what is no generator nothing is kept.
        conditions: for two images, where the data have some.

    Returns:
        "no_effect": what marks is as it was, to the bit: the step called "post" and all behind it,
        or the whole copy where there is none. "unchanged": the whole copy is, and draws the same.
    """
    exempt = attack.strength is None or isinstance(attack, CoalitionAttack)
    if exempt or not isinstance(attacked, Generator):
        return {}
    before, after = copy.steps, attacked.steps
    unchanged = _same(before, after) and torch.equal(
        copy.sample(copy.prior(_SEEDS, conditions)),
        attacked.sample(attacked.prior(_SEEDS, conditions)),
    )
    marked = _POST in before and _same(_from_post(before), _from_post(after))
    return {"no_effect": marked or unchanged, "unchanged": unchanged}


def _from_post(steps: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    names = list(steps)
    return {name: steps[name] for name in names[names.index(_POST) :]} if _POST in names else {}


def _same(steps: Mapping[str, nn.Module], others: Mapping[str, nn.Module]) -> bool:
    return list(steps) == list(others) and all(map(_alike, steps.values(), others.values()))


def _alike(step: nn.Module, other: nn.Module) -> bool:
    """Whether two steps are one, or hold the same numbers; what is opaque holds what it held."""
    if step is other:
        return True
    if type(step) is not type(other):
        return False
    if getattr(step, "opaque", False):
        return True
    mine, theirs = step.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(
        torch.equal(tensor, theirs[name]) for name, tensor in mine.items()
    )

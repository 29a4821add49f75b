"""How often attacks have steps of a copy copied: once to look at them, and once for each change."""

import copy
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fpbench.api import Surface, TrainedHost
from fpbench.nn.generator import ChainGenerator, Tail
from fpbench.registry import load
from fpbench.stages.boundary import Lent
from fpbench.testing.networks import LinearImages

COPIED = Counter()
CTX = SimpleNamespace(device=torch.device("cpu"), rng=lambda *_: torch.Generator().manual_seed(0))


class Counted(nn.Module):
    def __init__(self, inner, name, *, opaque=False):
        super().__init__()
        self.inner, self.name, self.opaque = inner, name, opaque

    def forward(self, x):
        return self.inner(x)

    def __deepcopy__(self, memo):
        COPIED[self.name] += 1
        return Counted(copy.deepcopy(self.inner, memo), self.name, opaque=self.opaque)


def a_copy():
    steps = {
        "front": Counted(nn.Linear(8, 8), "front"),
        "generator": Counted(LinearImages(16), "generator"),
        "post": Counted(nn.Conv2d(3, 3, 1), "post", opaque=True),
    }
    return Lent(ChainGenerator(steps, 8, torch.device("cpu")))


@pytest.fixture(autouse=True)
def _none_yet():
    COPIED.clear()


def attacked(name, strengths):
    cls = load().component("attacks", name)
    attack = cls(cls.Params())
    host = TrainedHost(None, {}, a_copy())
    surface = Surface(attack.access, name, [a_copy(), a_copy()], None, host)
    if strengths is None:
        return [attack.apply(surface, CTX)]
    return list(attack.apply(surface, strengths, CTX))


@pytest.mark.parametrize(
    ("name", "strengths"),
    [
        ("weight-noise", [0.1, 0.2]),
        ("prune", [0.2, 0.4]),
        ("quantise", [8, 4]),
        ("weight-rounding", [2, 1]),
        ("collude", None),
    ],
)
def test_a_step_is_copied_where_it_is_looked_at_and_where_it_changes(name, strengths):
    made = attacked(name, strengths)
    looked_at = 2 if strengths is None else 1  # a coalition looks at both copies
    expected = looked_at + len(made)
    assert dict(COPIED) == {"front": expected, "generator": expected}  # and never what is opaque


@pytest.mark.parametrize("name", ["bypass", "resample"])
def test_who_changes_no_step_has_none_copied(name):
    (made,) = attacked(name, None)
    made.sample(made.prior([1]))
    made.run(made.prior([1]))
    assert made.output == "generator"
    assert made.opaque == (frozenset() if name == "bypass" else {"post"})
    assert not COPIED


def test_a_change_of_one_step_copies_no_other():
    from fpbench.nn.weights import exchanged

    exchanged(a_copy(), {("generator", "inner.map.bias"): torch.zeros(48)})
    assert dict(COPIED) == {"generator": 2}  # taken out, and changed


def test_fine_tuning_copies_what_it_trains():
    generator = a_copy()
    tail = Tail(generator)
    for _ in range(3):
        generator = tail.within(generator)
    assert dict(COPIED) == {"generator": 2 + 3}  # taken out, to be trained, and at each mark

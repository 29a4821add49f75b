import copy

import pytest
import torch
from torch import nn

from fpbench.api import ContractError
from fpbench.nn.generator import ChainGenerator
from fpbench.stages.boundary import Lent, Loan, attacked, drawn, unharmed, watched

SEEDS = [3, 4, 5]


class Picture(nn.Module):
    def __init__(self, shared):
        super().__init__()
        self.shared = shared
        self.own = nn.Linear(8, 48)

    def forward(self, x):
        return torch.tanh(self.own(self.shared(x))).reshape(-1, 3, 4, 4)


class Shift(nn.Module):
    def __init__(self, shared):
        super().__init__()
        self.shared = shared

    def forward(self, x):
        return x * self.shared.weight.mean()


@pytest.fixture
def whole():
    """A generator of two steps that share a module."""
    shared = nn.Linear(8, 8)
    steps = {"picture": Picture(shared), "shift": Shift(shared)}
    return ChainGenerator(steps, 8, torch.device("cpu"))


def images(generator):
    return drawn(generator, generator.prior(SEEDS))


def test_a_step_that_is_taken_out_may_be_ruined_and_runs_from_then_on(whole):
    before = images(whole)
    lent = Lent(whole)
    assert torch.equal(images(lent), before)
    assert list(lent.steps) == ["picture", "shift"]
    assert "shift" in lent.steps
    assert "post" not in lent.steps
    with torch.no_grad():
        lent.steps["picture"].own.weight.zero_()
    assert lent.steps["picture"] is lent.steps["picture"]
    assert not torch.equal(images(lent), before)
    assert torch.equal(images(whole), before)


def test_what_steps_share_is_still_shared_among_those_taken_out(whole):
    lent = Lent(whole)
    first, second = lent.steps.values()
    assert first.shared is second.shared
    assert first.shared is not whole.steps["shift"].shared


def test_a_replaced_step_is_the_very_module_and_the_others_stay_lent(whole):
    own = nn.Identity()
    changed = Lent(whole).replace("shift", own)
    assert changed.steps["shift"] is own
    assert changed.steps["picture"] is not whole.steps["picture"]
    behind = Lent(whole).replace("post", own, after="shift")
    assert list(behind.steps) == ["picture", "shift", "post"]
    assert list(Lent(whole).replace("shift", None).steps) == ["picture"]
    assert list(whole.steps) == ["picture", "shift"]


def test_nothing_is_copied_before_it_is_asked_for(whole):
    lent = Lent(whole)
    assert lent.returned() is whole
    marked = lent.replace("post", nn.Identity(), after="shift")
    assert marked.returned().steps["picture"] is whole.steps["picture"]


def test_a_deep_copy_of_what_is_lent_is_a_generator_of_its_own(whole):
    before = images(whole)
    other = copy.deepcopy(Lent(whole))
    with torch.no_grad():
        other.steps["picture"].own.weight.zero_()
    assert torch.equal(images(whole), before)


def ruin_and_fail(state):
    ruin_in_torch(state)
    raise ZeroDivisionError


def collected(items, seen):
    for item in items:
        seen.append(item)


def ruin_in_torch(state):
    state["a"].add_(1)


def ruin_through_data(state):
    state["a"].data[0] = 7


def ruin_through_numpy(state):
    state["a"].numpy()[1] = 7


@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("ruin", [ruin_in_torch, ruin_through_data, ruin_through_numpy])
def test_a_change_of_content_is_caught_and_undone(ruin, scattered):
    # Compared as a block of memory or, where it is none, number by number.
    whole = torch.arange(0, 3, 0.5)[::2] if scattered else torch.arange(3.0)
    kept = {"a": whole, "b": torch.ones(2, dtype=torch.bool)}
    loan = Loan("the host's state", kept)
    caught = pytest.raises(ContractError, match=r"perfect: fit: .* 'a' of the host")
    with caught, unharmed("perfect: fit", loan):
        ruin(loan.lent())
    assert kept["a"].tolist() == [0, 1, 2]
    with pytest.raises(ZeroDivisionError), unharmed("perfect: fit", loan):
        ruin_and_fail(loan.lent())
    assert kept["a"].tolist() == [0, 1, 2]


def test_what_is_no_content_can_be_changed_without_anybody_seeing_it():
    kept = {"a": torch.arange(3.0)}
    with unharmed("perfect: fit", Loan("the host's state", kept)):
        lent = Loan("the host's state", kept).lent()
        lent["a"].resize_(1).requires_grad_(True)
        lent.clear()
    assert kept["a"].tolist() == [0, 1, 2]
    assert not kept["a"].requires_grad


def test_the_step_that_changes_what_is_lent_is_not_handed_on():
    kept = {"a": torch.arange(3.0)}
    loan = Loan("the host's state", kept)

    def steps():
        yield 1
        loan.lent()["a"].zero_()
        yield 2

    seen = []
    with pytest.raises(ContractError, match="attack x: "):
        collected(watched(steps, "attack x", loan), seen)
    assert seen == [1]
    assert kept["a"].tolist() == [0, 1, 2]


def test_images_come_back_in_memory_of_their_own():
    images = torch.arange(48, dtype=torch.uint8).reshape(1, 3, 4, 4)
    buffer = torch.zeros_like(images)
    first = attacked("attack x", lambda lent: lent, images)
    second = attacked("attack x", buffer.copy_, images)
    buffer.zero_()
    for made in (first, second):
        assert torch.equal(made, images)
        made.zero_()
    assert images.sum() == 48 * 47 / 2

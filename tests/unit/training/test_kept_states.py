"""States that a training keeps on its way."""

import numpy as np
import pytest
import torch

from fpbench.api import ContractError
from fpbench.nn.ema import Average
from fpbench.stages.context import StageContext
from fpbench.store import Store
from fpbench.training import TrainingRun

KEY, KEPT = "12" * 32, "34" * 32


def train(folder, *, snapshots=4, stop_at=None, spoil=False):
    """Twelve steps, a checkpoint after every third; returns the steps done and the last average."""
    ctx = StageContext(
        torch.device("cpu"),
        (0, "fit"),
        Store(folder),
        key=KEY,
        snapshots=snapshots,
        snapshots_key=KEPT,
    )
    with ctx.seeded("init"):
        model = torch.nn.Linear(3, 2)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    average, seen = Average(model), []
    scale = float("nan") if spoil else 1.0
    parts = {"modules": {"model": model}, "optimisers": {"model": sgd}}
    with TrainingRun(
        ctx, "toy", steps=12, averages={"model": average}, checkpoint_steps=3, **parts
    ) as run:
        for step in run:
            if step == stop_at:
                raise KeyboardInterrupt
            seen.append(step)
            model(torch.randn(4, 3, generator=run.rng("x"))).square().mean().backward()
            run.update(sgd)
            average.update(0.9)
            run.snapshot(lambda: {k: scale * v for k, v in average.module.state_dict().items()})
    return seen, average.module.state_dict()


def kept(folder):
    store = Store(folder)
    return {int(s): store.shard(KEPT, s).arrays for s in store.columns(KEPT)}


def test_they_are_evenly_spaced_and_the_last_is_not_kept_twice(tmp_path):
    train(tmp_path)
    states = kept(tmp_path)
    assert sorted(states) == [3, 6, 9]
    # Each is that of its own step: what a training of as many steps would end with.
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "sooner", stop_at=6)
    found = Store(tmp_path / "sooner").load_checkpoint(KEY, "toy").arrays
    sooner = {k.removeprefix("module/average.model/"): v for k, v in found.items()}
    for name, array in states[6].items():
        np.testing.assert_array_equal(array, sooner[name])


def test_a_killed_training_keeps_what_it_had_and_goes_on_to_the_same(tmp_path):
    whole, last = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", snapshots=6, stop_at=5)
    assert sorted(kept(tmp_path / "cut")) == [2, 4]
    seen, again = train(tmp_path / "cut", snapshots=6)
    assert seen == list(range(3, 12))  # the fourth step is done again, and kept already
    assert sorted(kept(tmp_path / "cut")) == [2, 4, 6, 8, 10]
    assert all(torch.equal(again[k], last[k]) for k in last)
    whole, cut = kept(tmp_path / "whole"), kept(tmp_path / "cut")
    for name, array in whole[6].items():
        np.testing.assert_array_equal(cut[6][name], array)


@pytest.mark.parametrize("snapshots", [0, 1])
def test_none_is_kept_where_only_the_last_is_asked_for(tmp_path, snapshots):
    train(tmp_path, snapshots=snapshots)
    assert kept(tmp_path) == {}


def test_more_than_steps_keeps_each_once(tmp_path):
    train(tmp_path, snapshots=100)
    assert sorted(kept(tmp_path)) == list(range(1, 12))


def test_a_broken_state_is_not_kept(tmp_path):
    with pytest.raises(ContractError, match="snapshot of step 3: expected finite"):
        train(tmp_path, spoil=True)
    assert kept(tmp_path) == {}

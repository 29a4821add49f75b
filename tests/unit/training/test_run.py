import pytest
import torch

from fpbench.api import TrainingFailed
from fpbench.execute.context import StageContext
from fpbench.nn.ema import Average
from fpbench.store import Store
from fpbench.training import TrainingRun

KEY = "12" * 32


def train(tmp_path, steps, stop_at=None, poison=None, every=3):
    ctx = StageContext(torch.device("cpu"), (0, "fit", 0), Store(tmp_path), key=KEY)
    with ctx.seeded("init"):
        model = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    average = Average(model)
    seen = []
    with TrainingRun(
        ctx,
        "toy",
        steps=steps,
        modules={"model": model},
        optimisers={"model": adam},
        averages={"model": average},
        checkpoint_steps=every,
    ) as run:
        for step in run:
            if step == stop_at:
                raise KeyboardInterrupt
            seen.append(step)
            x = torch.randn(2, 3, 8, 8, generator=run.rng("x"))
            loss = model(x).square().mean() * (float("nan") if step == poison else 1)
            adam.zero_grad()
            loss.backward()
            adam.step()
            average.update(0.9)
            run.memory["total"] = run.memory.get("total", 0.0) + float(loss.detach())
            run.log(loss=loss.detach())
        memory = dict(run.memory)
    return model.state_dict(), average.module.state_dict(), memory, seen, ctx.curves


def test_a_resumed_training_equals_an_uninterrupted_one_bit_by_bit(tmp_path):
    whole = train(tmp_path / "whole", 11)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", 11, stop_at=7)
    resumed = train(tmp_path / "cut", 11)
    assert resumed[3] == [6, 7, 8, 9, 10]
    for a, b in zip(whole[:2], resumed[:2], strict=True):
        assert all(torch.equal(a[k], b[k]) for k in a)
    assert whole[2] == resumed[2]
    assert whole[4] == resumed[4]


def test_a_finished_training_is_not_repeated(tmp_path):
    first = train(tmp_path, 5)
    again = train(tmp_path, 5)
    assert again[3] == []
    assert all(torch.equal(first[0][k], again[0][k]) for k in first[0])


def test_a_loss_that_is_not_finite_stops_with_step_and_last_good_checkpoint(tmp_path):
    with pytest.raises(TrainingFailed, match=r"loss = nan at step 25 of 30.*checkpoint at step 24"):
        train(tmp_path, 30, poison=25)


def test_curves_are_kept(tmp_path):
    *_, curves = train(tmp_path, 30)
    assert [point["step"] for point in curves["toy"]] == [0, 25, 29]
    assert all(point["loss"] > 0 for point in curves["toy"])

import time

import pytest
import torch

from fpbench.api import TrainingFailed
from fpbench.api.context import Peers
from fpbench.nn.ema import Average
from fpbench.stages.context import StageContext
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


def context(tmp_path, **settings):
    return StageContext(torch.device("cpu"), (0, "fit", 0), Store(tmp_path), key=KEY, **settings)


def gradient(ctx, count=12):
    """The gradient of one step, as the plugin would take it."""
    with ctx.seeded("init"):
        model = torch.nn.Linear(3, 1)
    adam = torch.optim.SGD(model.parameters(), lr=1.0)
    before = model.weight.detach().clone()
    with TrainingRun(ctx, "toy", steps=1, modules={"m": model}, optimisers={"m": adam}) as run:
        for _ in run:
            x = torch.randn(count, 3, generator=run.rng("x"))
            pieces = run.pieces(count)
            for piece in pieces:
                with run.autocast():
                    loss = model(x[piece]).square().mean()
                run.backward(loss, piece, count)
            run.update(adam)
            assert all(p.grad is None for p in model.parameters())
    return before - model.weight.detach(), pieces


@pytest.mark.parametrize("count", [12, 13, 2])
def test_a_batch_in_pieces_has_the_gradient_of_the_whole(tmp_path, count):
    whole, one = gradient(context(tmp_path / "whole"), count)
    cut, five = gradient(context(tmp_path / "cut", accumulation=5), count)
    assert one == [slice(0, count)]
    assert len(five) == min(5, count)
    assert sum(p.stop - p.start for p in five) == count
    torch.testing.assert_close(cut, whole)


class Pair(Peers):
    """Two processes, one after the other: the first leaves its gradient for the second."""

    count = 2

    def __init__(self, rank, left):
        self.rank = rank
        self.left = left

    def average(self, tensors):
        if self.rank == 0:
            self.left[:] = [t.clone() for t in tensors]
        for mine, other in zip(tensors, self.left, strict=True):
            mine.add_(other).div_(2)


def test_processes_that_train_together_have_the_gradient_of_the_whole(tmp_path):
    whole, _ = gradient(context(tmp_path / "whole"))
    left = []
    _, first = gradient(context(tmp_path / "a", peers=Pair(0, left)))
    together, second = gradient(context(tmp_path / "b", peers=Pair(1, left)))
    assert first + second == [slice(0, 6), slice(6, 12)]
    torch.testing.assert_close(together, whole)


def test_a_mean_weighs_pieces_by_their_images_over_all_processes(tmp_path):
    values = torch.arange(7.0) ** 2
    left = []
    for rank in (0, 1):
        peers = Pair(rank, left)
        ctx = context(tmp_path, peers=peers, accumulation=2)
        run = TrainingRun(ctx, "toy", steps=1, modules={}, optimisers={})
        pieces = run.pieces(7)
        assert {p.stop - p.start for p in pieces} == {1, 2} or rank
        found = run.mean([values[piece].mean() for piece in pieces], 7)
    assert found == pytest.approx(float(values.mean()))


def test_draws_go_by_the_place_and_by_the_purpose_and_the_step(tmp_path):
    seen = []

    def each(run, step):
        whole = run.draws("a", slice(None), 6).normal((2,))
        cut = [run.draws("a", piece, 6).normal((2,)) for piece in (slice(0, 1), slice(1, 6))]
        assert torch.equal(torch.cat(cut), whole)
        assert torch.equal(run.draws("a", slice(None), 6, on_device=True).normal((2,)), whole)
        seen.extend([whole, run.draws("b", slice(None), 6).normal((2,))])

    plain_run(context(tmp_path), 2, each)
    assert len({float(draws.sum()) for draws in seen}) == 4


def test_only_the_first_process_saves(tmp_path):
    gradient(context(tmp_path, peers=Pair(1, [torch.zeros(1, 3), torch.zeros(1)])))
    assert context(tmp_path).load_checkpoint("toy") is None


@pytest.mark.parametrize(("precision", "exact", "dtype"), [
    ("fp32", False, torch.float32),
    ("bf16", False, torch.bfloat16),
    ("bf16", True, torch.float32),
])  # fmt: skip
def test_products_are_computed_in_the_precision_that_was_asked_for(
    tmp_path, precision, exact, dtype
):
    model = torch.nn.Linear(3, 1)
    ctx = context(tmp_path, precision=precision)
    with (
        TrainingRun(ctx, "toy", steps=1, modules={"m": model}, optimisers={}) as run,
        run.autocast(exact=exact),
    ):
        assert model(torch.ones(2, 3)).dtype == dtype
    assert model.weight.dtype == torch.float32


def plain_run(ctx, steps, each, modules=None, **more):
    with TrainingRun(ctx, "toy", steps=steps, modules=modules or {}, optimisers={}, **more) as run:
        for step in run:
            each(run, step)


def test_what_modules_draw_by_themselves_depends_on_the_step_alone(tmp_path):
    drawn = []
    for name in ("a", "b"):
        plain_run(context(tmp_path / name), 3, lambda run, step: drawn.append(torch.randn(1)))
    assert drawn[:3] == drawn[3:]
    assert len({float(d) for d in drawn}) == 3


def test_a_training_that_comes_to_nothing_is_stopped(tmp_path):
    def each(run, step):
        run.expect("accuracy", 0.5 if step < 900 else 0.9, 0.6, after=0.5)

    with pytest.raises(TrainingFailed, match=r"accuracy of at least 0.6 from step 500 on, got 0.5"):
        plain_run(context(tmp_path), 1000, each)


def test_a_training_may_miss_an_expectation_now_and_then(tmp_path):
    plain_run(
        context(tmp_path),
        1000,
        lambda run, step: run.expect("accuracy", 0.5 if step % 100 else 0.9, 0.6, after=0.5),
    )


def test_what_was_missed_is_known_after_a_stop(tmp_path):
    def each(run, step):
        run.expect("accuracy", 0.5, 0.6, after=0.0)
        if step == stop_at:
            raise KeyboardInterrupt

    stop_at = 60
    with pytest.raises(KeyboardInterrupt):
        plain_run(context(tmp_path), 1000, each, checkpoint_steps=10)
    stop_at = None
    with pytest.raises(TrainingFailed, match="at step 75 of"):
        plain_run(context(tmp_path), 1000, each, checkpoint_steps=10)


def test_more_devices_than_images_are_refused(tmp_path):
    run = TrainingRun(
        context(tmp_path, peers=Pair(0, [])), "toy", steps=1, modules={}, optimisers={}
    )
    with pytest.raises(TrainingFailed, match="each of 2 devices, got a batch of 1"):
        run.pieces(1)


def test_the_curve_has_the_mean_over_pieces(tmp_path):
    def each(run, step):
        for value in (1.0, 2.0, 6.0):
            run.log(loss=value)

    ctx = context(tmp_path)
    plain_run(ctx, 2, each)
    assert [point["loss"] for point in ctx.curves["toy"]] == [3.0, 3.0]


def test_broken_weights_are_never_saved(tmp_path):
    model = torch.nn.Linear(2, 2)

    def each(run, step):
        if step == 4:
            model.weight.data.fill_(float("inf"))

    ctx = context(tmp_path)
    with pytest.raises(TrainingFailed, match=r"m/weight before step 6.*checkpoint at step 3"):
        plain_run(ctx, 9, each, modules={"m": model}, checkpoint_steps=3)
    tensors, _ = ctx.load_checkpoint("toy")
    assert torch.isfinite(tensors["module/m/weight"]).all()


def test_samples_of_six_steps_are_kept_over_a_stop(tmp_path):
    def each(run, step):
        run.sheet(lambda: torch.full((1, 3, 2, 2), step, dtype=torch.uint8))
        if step == stop_at:
            raise KeyboardInterrupt

    stop_at = 30
    with pytest.raises(KeyboardInterrupt):
        plain_run(context(tmp_path), 51, each, checkpoint_steps=5)
    stop_at = None
    ctx = context(tmp_path)
    plain_run(ctx, 51, each, checkpoint_steps=5)
    assert [int(key.split("/")[1]) for key in ctx.sheets] == [0, 10, 20, 30, 40, 50]
    assert all((images == int(key.split("/")[1])).all() for key, images in ctx.sheets.items())


def test_throughput_counts_images_and_seconds(tmp_path):
    ctx = context(tmp_path)
    plain_run(ctx, 4, lambda run, step: time.sleep(0.01), batch=16)
    assert ctx.rates["toy"]["images"] == 64
    assert 0.04 <= ctx.rates["toy"]["seconds"] < 2

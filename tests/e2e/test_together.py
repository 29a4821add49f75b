"""One training over two processes."""

from pathlib import Path

import numpy as np
import pytest

from fpbench.execute.request import Request
from fpbench.execute.runner import Runner
from fpbench.plan import Kind, graph_of
from fpbench.store import Store

SUITE = """
[suite]
name = "together"
[dataset]
use = "toy-faces"
train = 64
test = 64
reference = 64
[host]
use = "stylegan2"
channels = 16
embedding_dim = 16
latent_dim = 8
batch = 16
pair_steps = {pairs}
learning_rate = 0.02
adversarial_steps = {steps}
[population]
copies = 2
images = 2
[negatives]
real = 20
host = 20
attacked_host = 10
[[methods]]
use = "hidden"
bits = 8
channels = 8
steps = 3
batch = 12
[score]
registered = 2
"""


def run(folder, devices, *, kind=Kind.HOST, steps=0, pairs=40):
    folder.mkdir(exist_ok=True)
    suite = folder / "suite.toml"
    suite.write_text(SUITE.format(steps=steps, pairs=pairs))
    request = Request(
        str(suite), store=str(folder / "store"), device="cpu", threads=2, devices=devices
    )
    plan, _ = request.plan()
    place = Store(Path(request.store))
    problems = [
        problem
        for stage in graph_of(plan).of(kind)
        for problem in Runner(plan, request, place).run(stage.key)
    ]
    return problems, plan, place


@pytest.mark.timeout(180)
def test_two_processes_learn_what_one_learns(tmp_path):
    found = []
    for devices in (1, 2):
        problems, plan, store = run(tmp_path / str(devices), devices)
        assert problems == []
        found.append(store.get(plan.host_key).arrays)
    alone, together = found
    assert alone.keys() == together.keys()
    untrained, plan, store = run(tmp_path / "untrained", 1, pairs=1)
    assert untrained == []
    start = store.get(plan.host_key).arrays
    for name, array in alone.items():
        if name.startswith("generator"):
            # Sums over a batch come in another order; that moves little of what training moved.
            apart = np.abs(together[name] - array).max()
            assert apart <= 0.05 * np.abs(start[name] - array).max() + 1e-6, name


@pytest.mark.timeout(180)
def test_samples_of_all_phases_of_a_group_are_finite(tmp_path):
    problems, plan, store = run(tmp_path, 2, steps=20, pairs=2)
    assert problems == []
    meta, arrays = store.meta(plan.host_key), store.get(plan.host_key).arrays
    assert meta["devices"] == 2
    assert len(meta["curves"]["adversarial"]) == 2
    assert all(np.isfinite(array).all() for array in arrays.values())


@pytest.mark.timeout(180)
def test_what_breaks_in_a_group_is_one_problem_and_ends_the_helpers(tmp_path):
    # There is no host to train the method on.
    (problem,), _, _ = run(tmp_path, 2, kind=Kind.TRAINING)
    assert "expected artefact" in problem.reason
    assert "got none" in problem.reason

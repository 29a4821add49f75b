"""What trainings would cost is measured over a few steps of each, and nothing is kept."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fpbench.api import SampleInfo
from fpbench.cli.main import cli
from fpbench.stages.context import StageContext
from fpbench.stages.trial import Noise
from fpbench.store import Store
from fpbench.training import TrainingRun

CPU = torch.device("cpu")


def test_a_trial_runs_a_few_steps_and_tells_of_all(tmp_path):
    ctx = StageContext(CPU, (0,), Store(tmp_path), trial_steps=3)
    layer = torch.nn.Linear(2, 1)
    done = []
    with TrainingRun(ctx, "own", steps=500, modules={"layer": layer}, optimisers={}) as run:
        done += [step for step in run]
    assert done == [0, 1, 2]
    assert ctx.trials["own"][0] == 500
    assert ctx.trials["own"][1] >= 0
    whole = StageContext(CPU, (0,), Store(tmp_path))
    with TrainingRun(whole, "own", steps=5, modules={"layer": layer}, optimisers={}) as run:
        assert len(list(run)) == 5
    assert not whole.trials


def test_noise_has_the_data_sets_shape_and_is_always_the_same():
    noise = Noise(SampleInfo.of_images(16, {"train": 9}), 9, CPU)
    images = noise.read([3, 1, 3])
    assert (images.shape, images.dtype, len(noise)) == ((3, 3, 16, 16), torch.uint8, 9)
    assert torch.equal(images[0], images[2])
    assert not torch.equal(images[0], images[1])
    assert abs(float(images.float().mean()) - 127.5) < 10
    assert noise.conditions(np.arange(2)) == ()


@pytest.mark.timeout(180)
def test_plan_says_what_all_trainings_would_take(tmp_path):
    suite = tmp_path / "suite.toml"
    suite.write_text("""
[suite]
name = "costs"
[dataset]
use = "toy-faces"
train = 64
test = 64
reference = 64
[host]
use = "stylegan2"
channels = 16
embedding_dim = 16
latent_dim = 16
batch = 8
pair_steps = 50000
adversarial_steps = 0
[training]
seeds = [0, 1]
[[methods]]
use = "hidden"
channels = 8
batch = 12
steps = 70000
[[methods]]
use = "gaussian-shading"
[population]
copies = 4
images = 4
shared = 2
[negatives]
real = 20
host = 20
attacked_host = 10
[score]
registered = 30
false_rate = 0.01
""")
    arguments = ["plan", str(suite), "--measure", "--device", "cpu"]
    done = CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False)
    told = json.loads(done.output)
    host, method, shading = told["trials"]
    assert host["phases"]["pairs"][0] == 50_000
    assert method["phases"]["hidden"][0] == 70_000
    assert method["times"] == 2
    assert method["seconds"] > 2 * 70_000 * method["phases"]["hidden"][1]
    assert "round trip" in shading["problem"]  # the host has learnt nothing in four steps
    assert told["seconds"] == sum(trial["seconds"] for trial in told["trials"])
    lines = CliRunner().invoke(cli, arguments, catch_exceptions=False).output
    assert "hidden 70,000 steps × " in lines
    assert "gaussian-shading: not tried: " in lines
    assert "hours of this machine" in lines
    assert not list(tmp_path.glob("runs*"))

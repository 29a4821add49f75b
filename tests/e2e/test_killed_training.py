"""A training killed by SIGKILL goes on to the same weights, bit by bit."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from fpbench.store import Store

KEY = "9a" * 32
SCRIPT = """
import sys
import torch
from pathlib import Path
torch.set_num_threads(1)
import fpbench.stages.context as module
from fpbench.api import TrainedHost
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.stages.context import StageContext, to_arrays
from fpbench.stages.images import SplitStream
from fpbench.registry import load
from fpbench.store import Store

module.CHECKPOINT_SECONDS = 0.0
catalogue = load()

def component(kind, name, **params):
    cls = catalogue.component(kind, name)
    return cls(cls.Params(**params))

store = Store(Path(sys.argv[1]))
shared = dict(
    architecture="stylegan2", channels=16, channel_base=256, embedding_dim=16, mapping_layers=2,
    pair_steps=0, path_weight=2.0, batch=8,
)
host = component("hosts", "stylegan2", **shared, latent_dim=8, adversarial_steps=1)
images = SplitStream(ToyFaces(ToyFaces.Params(train=64)), "train", torch.device("cpu"))
first = StageContext(torch.device("cpu"), (0, "host"), store)
state = host.fit(images, first)
trained = TrainedHost(host, state, host.assemble(state, first))
method = component("methods", "scalable-gan", **shared, bits=8, latent_dim=8, joint_steps=40)
ctx = StageContext(torch.device("cpu"), (0, "fit"), store, key="KEY", bits=8)
print("begin", flush=True)
store.put("KEY", to_arrays(method.fit(trained, images, ctx)), {})
""".replace("KEY", KEY)


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)], stdout=subprocess.PIPE, text=True
    )


def finish(folder):
    process = start(folder)
    process.communicate()
    assert process.returncode == 0


def weights(folder):
    return Store(folder).get(KEY).arrays


@pytest.mark.timeout(300)
def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    finish(tmp_path / "whole")
    killed = start(tmp_path / "killed")
    assert killed.stdout.readline() == "begin\n"
    store = Store(tmp_path / "killed")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = store.load_checkpoint(KEY, "joint")
        if found is not None and found.meta["plugin"]["next"] >= 5:
            break
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not store.has(KEY)
    assert 5 <= store.load_checkpoint(KEY, "joint").meta["plugin"]["next"] < 40
    finish(tmp_path / "killed")
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(other[name], array, err_msg=name)

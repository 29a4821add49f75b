"""Runs on a real Ray cluster on this machine; skipped with the reason where there is no Ray."""

import importlib.util
import json
import os
import subprocess
import sys
import time

import pytest
from local_ray import local_ray

from fpbench.api import MissingResource, Needs
from fpbench.builtin.ray.cluster import RayCluster, RayParams
from fpbench.store import RecordLog
from fpbench.store.records import content

SLOW = ('use = "tiny-host"', 'use = "tiny-host"\nsteps = 40\nstep_s = 0.1\ncheckpoint_steps = 5')
FPBENCH = [sys.executable, "-m", "fpbench", "-p", "fpbench.testing.fakes"]
SENDER = """
import os, sys, time
from pathlib import Path
from fpbench.api import Needs
from fpbench.builtin.ray.cluster import RayCluster, RayParams

address, folder, cancel = sys.argv[1], Path.cwd(), sys.argv[2] == "cancel"
shell = "trap 'echo saved; exit' TERM; echo at work; until [ -e over ]; do sleep 0.1; done"
cluster = RayCluster(RayParams(address=address, cap=2))
assert cluster.keep(["sh", "-c", shell], folder, Needs(), 9) == 2
assert cluster.keep(["sh", "-c", shell], folder, Needs(), 9) == 0
while sum(path.read_text() == "at work\\n" for path in folder.glob("*.txt")) < 2:
    time.sleep(0.1)
if cancel:
    cluster.close(cancel=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def ray():
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: uv sync --extra ray")
    with local_ray("one", "two") as running:
        yield running


@pytest.fixture
def start(ray, tmp_path):
    def run(suite, runs, *more):
        command = [*FPBENCH, "run", str(suite), "--device", "cpu", "--threads", "1", "--no-page"]
        return subprocess.Popen(
            [*command, "--runs", runs, *more],
            cwd=tmp_path,
            env={**ray.env, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def contents(folder):
    return {k: content(r) for k, r in RecordLog(folder / "records.jsonl").read().items()}


def trainer(store):
    """The process that trains, once it has saved for the first time; None before that."""
    if list(store.glob("checkpoints/*/*/*/manifest.json")):
        for lease in (store / "leases").glob("[!.]*"):
            holder = json.loads(lease.read_text())
            if holder["label"].startswith("train host"):
                return holder["pid"]
    return None


@pytest.mark.timeout(180)
def test_pilots_outlive_who_sent_them_and_save_when_cancelled(ray, tmp_path):
    for way in ("leave", "cancel"):
        folder = tmp_path / way
        folder.mkdir()
        subprocess.run(
            [sys.executable, "-c", SENDER, ray.address, way],
            cwd=folder,
            env=ray.env,
            check=True,
            timeout=60,
        )
        said = [path.read_text() for path in folder.glob("*.txt")]
        saved = "saved\n" if way == "cancel" else ""
        assert said == [f"at work\n{saved}"] * 2
        # Whoever was left ends by himself, and makes room: the next round has two places again.
        (folder / "over").touch()


@pytest.mark.timeout(180)
def test_a_lost_node_changes_no_number(ray, start, suite_file, tmp_path):
    suite = suite_file(SLOW)
    process = start(suite, "cluster", "--executor", f"ray[address={ray.address},cap=2]")
    deadline = time.monotonic() + 60
    while (found := trainer(tmp_path / "cluster" / "store")) is None:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ray.kill_node("one" if found in ray.pilots("one") else "two")
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    alone = start(suite, "alone")
    alone.communicate(timeout=100)
    assert contents(tmp_path / "cluster" / "fakes") == contents(tmp_path / "alone" / "fakes")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("address={address},gpus=3", "0 GPUs"),
        ("address={address},memory_gib=99999", "wait for ever"),
        ("address=127.0.0.1:9", "Connection refused"),
    ],
)
def test_what_a_cluster_refuses_is_said(ray, start, suite_file, params, message):
    executor = f"ray[{params.format(address=ray.address)}]"
    process = start(suite_file(), "refused", "--executor", executor)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 7, err
    assert message in err
    assert "Traceback" not in err


def test_without_ray_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(MissingResource, match="uv sync --extra ray"):
        RayCluster(RayParams()).keep(["true"], tmp_path, Needs(), 1)

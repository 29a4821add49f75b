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

SLOW = ('use = "tiny-host"', 'use = "tiny-host"\nsteps = 30\nstep_s = 0.1\ncheckpoint_steps = 5')
FPBENCH = [sys.executable, "-m", "fpbench", "-p", "fpbench.testing.fakes"]
SENDER = """
import os, sys, time
from pathlib import Path
from fpbench.api import Needs
from fpbench.builtin.ray.cluster import RayCluster, RayParams

address, folder, cancel = sys.argv[1], Path.cwd(), sys.argv[2] == "cancel"
wait = "until [ -e over ]; do sleep 0.1; done"
shell = f"trap 'echo saved; exit' TERM; echo at work; {wait}; echo over"
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
    started = []

    def run(suite, executor):
        command = [*FPBENCH, "run", str(suite), "--device", "cpu", "--threads", "1", "--no-page"]
        process = subprocess.Popen(
            [*command, "--executor", executor],
            cwd=tmp_path,
            env={**ray.env, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def trainer(store):
    """The process that trains, once it has saved for the first time; None before that."""
    if list(store.glob("checkpoints/*/*/*/manifest.json")):
        for lease in (store / "leases").glob("[!.]*"):
            holder = json.loads(lease.read_text())
            if holder["label"].startswith("train host"):
                return holder["pid"]
    return None


def said(folder):
    return sorted(path.read_text() for path in folder.glob("*.txt"))


@pytest.mark.timeout(300)
def test_pilots_outlive_who_sent_them_and_save_when_cancelled(ray, tmp_path):
    def send(folder, way):
        folder.mkdir()
        command = [sys.executable, "-c", SENDER, ray.address, way]
        subprocess.run(command, cwd=folder, env=ray.env, check=True, timeout=120)

    send(tmp_path / "left", "leave")
    time.sleep(3)  # those that end with their sender have ended by now
    (tmp_path / "left" / "over").touch()
    # Those who were left end by themselves, and make room: there are two places again.
    send(tmp_path / "cancelled", "cancel")
    assert said(tmp_path / "left") == ["at work\nover\n"] * 2
    assert said(tmp_path / "cancelled") == ["at work\nsaved\n"] * 2


@pytest.mark.timeout(300)
def test_a_lost_node_changes_no_number(ray, start, suite_file, run_suite, tmp_path):
    suite = suite_file(SLOW)
    process = start(suite, f"ray[address={ray.address},cap=1]")
    deadline = time.monotonic() + 120
    while (found := trainer(tmp_path / "runs" / "store")) is None:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    lost, number = ("one", 3) if found in ray.pilots("one") else ("two", 4)
    ray.kill_node(lost)
    _, err = process.communicate(timeout=200)
    ray.start_node(lost, number)  # the next test finds two
    assert process.returncode == 0, err
    found = RecordLog(tmp_path / "runs" / "fakes" / "records.jsonl").read()
    _, alone, _ = run_suite(suite)
    assert {k: content(r) for k, r in found.items()} == {k: content(r) for k, r in alone.items()}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("address={address},gpus=3", "0 GPUs"),
        ("address={address},memory_gib=99999", "wait for ever"),
        ("address=127.0.0.1:9", "Connection refused"),
    ],
)
def test_what_a_cluster_refuses_is_said(ray, start, suite_file, params, message):
    process = start(suite_file(), f"ray[{params.format(address=ray.address)}]")
    _, err = process.communicate(timeout=200)
    assert process.returncode == 7, err
    assert message in err
    assert "Traceback" not in err


def test_without_ray_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(MissingResource, match="uv sync --extra ray"):
        RayCluster(RayParams()).keep(["true"], tmp_path, Needs(), 1)

"""Runs on a real Slurm on this machine; skipped with the reason where there is none."""

import os
import subprocess
import sys
import time

import pytest
from local_slurm import NoSlurm, local_slurm
from tiny_quickstart import TINY

from fpbench.store import RecordLog
from fpbench.store.records import content

SLOW = ('use = "tiny-host"', 'use = "tiny-host"\nsteps = 60\nstep_s = 0.1\ncheckpoint_steps = 5')
FPBENCH = [sys.executable, "-m", "fpbench", "-p", "fpbench.testing.fakes"]


@pytest.fixture(scope="module")
def slurm():
    try:
        with local_slurm(nodes=2) as running:
            yield running
    except NoSlurm as missing:
        pytest.skip(missing.reason)


@pytest.fixture
def start(slurm, tmp_path):
    def run(suite, runs, *more):
        command = [*FPBENCH, "run", str(suite), "--device", "cpu", "--threads", "1", "--no-page"]
        return subprocess.Popen(
            [*command, "--runs", runs, *more],
            cwd=tmp_path,
            env={**os.environ, **slurm.env, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )

    yield run
    # The next test finds no job of this one.
    while jobs := slurm.run("squeue", "-h", "-o", "%i").split():
        slurm.run("scancel", *jobs)
        time.sleep(0.2)


def contents(folder):
    return {k: content(r) for k, r in RecordLog(folder / "records.jsonl").read().items()}


def running(slurm):
    """(job, node) of the jobs that run."""
    lines = slurm.run("squeue", "-h", "-t", "R", "-o", "%i %N").split("\n")
    return [tuple(line.split()) for line in lines if line]


def wait_for(slurm, process, count):
    while process.poll() is None and len(running(slurm)) < count:
        time.sleep(0.1)


def lose_a_job_and_a_node(slurm, process, store):
    """While it runs; returns what the run has said."""
    wait_for(slurm, process, 2)
    slurm.run("scancel", running(slurm)[0][0])
    # In the middle of the host's training the node under the other one dies, jobs and all.
    deadline = time.monotonic() + 60
    while process.poll() is None and not list(store.glob("checkpoints/*/*/*/manifest.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    node = running(slurm)[0][1]
    slurm.kill_node(node)
    slurm.mark_down(node)
    _, err = process.communicate(timeout=500)
    slurm.start_node(node)
    slurm.wait_for_nodes()
    assert process.returncode == 0, err


@pytest.mark.timeout(300)
def test_lost_jobs_and_nodes_change_no_number(slurm, start, suite_file, tmp_path):
    suite = suite_file(SLOW)
    process = start(suite, "cluster", "--executor", "slurm[cap=2]")
    lose_a_job_and_a_node(slurm, process, tmp_path / "cluster" / "store")
    alone = start(suite, "alone")
    alone.communicate(timeout=120)
    assert contents(tmp_path / "cluster" / "fakes") == contents(tmp_path / "alone" / "fakes")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_quickstart_loses_a_job_and_a_node(slurm, start, tmp_path):
    # So many steps that there is a checkpoint to lose.
    steps = ["--set", "host.pair_steps=120"]
    process = start("quickstart", "cluster", *TINY, *steps, "--executor", "slurm[cap=2]")
    lose_a_job_and_a_node(slurm, process, tmp_path / "cluster" / "store")
    alone = start("quickstart", "alone", *TINY, *steps)
    alone.communicate(timeout=500)
    found, expected = (contents(tmp_path / name / "quickstart") for name in ("cluster", "alone"))
    # How many images a second depends on who else computes.
    speed = {k for k, r in expected.items() if r["metric"] in ("training", "cost")}
    assert found.keys() == expected.keys()
    assert [k for k in found if k not in speed and found[k] != expected[k]] == []


@pytest.mark.timeout(120)
def test_jobs_go_on_when_the_run_that_sent_them_dies(slurm, start, suite_file, tmp_path):
    suite = suite_file(SLOW)
    process = start(suite, "left", "--executor", "slurm[cap=1]")
    wait_for(slurm, process, 1)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 90
    while running(slurm):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    again = start(suite, "left")
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0
    assert "train" not in err  # nothing was left to do but records


@pytest.mark.timeout(120)
def test_pilots_that_do_nothing_end_the_run(slurm, start, suite_file, tmp_path, monkeypatch):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text(
        "import os, sys\nif 'SLURM_JOB_ID' in os.environ: os._exit(0)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"), prepend=os.pathsep)
    process = start(suite_file(), "vain", "--executor", "slurm[cap=8]")
    _, err = process.communicate(timeout=90)
    assert process.returncode == 7, err
    assert "ended without any" in err


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("executor", "code", "message"),
    [
        ("slurm[partition=nowhere]", 7, "invalid partition"),
        ("slurm[cpus=99]", 7, "wait for ever"),
        ("slurm[capp=2]", 2, "capp"),
        ("nothing", 2, "unknown cluster 'nothing'"),
        ("local[cap=2]", 2, "no parameters"),
    ],
)
def test_what_a_cluster_refuses_is_said(start, suite_file, executor, code, message):
    process = start(suite_file(), "refused", "--executor", executor)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert message in err
    assert "Traceback" not in err

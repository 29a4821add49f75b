import json
import os
import signal
import subprocess
import sys
import time

import pytest

from fpbench.store import RecordLog
from fpbench.store.records import content

FPBENCH = [sys.executable, "-m", "fpbench", "-p", "fpbench.testing.fakes"]


@pytest.fixture
def fpbench(tmp_path):
    def start(*arguments, wait=True, **options):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [*FPBENCH, *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        if not wait:
            return process
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return start


SLOW = ('use = "tiny-host"', 'use = "tiny-host"\nsteps = 40\nstep_s = 0.05\ncheckpoint_steps = 5')


def contents(folder):
    return {k: content(r) for k, r in RecordLog(folder / "records.jsonl").read().items()}


def run(fpbench, suite, *more, **options):
    return fpbench("run", suite, "--device", "cpu", "--threads", 1, "--no-page", *more, **options)


@pytest.mark.timeout(300)
def test_a_killed_run_goes_on_to_the_same_records(fpbench, suite_file, tmp_path):
    suite = suite_file(SLOW)
    code, _, err = run(fpbench, suite, "--runs", "whole")
    assert code == 0, err
    kills = 0
    store = tmp_path / "killed" / "store"
    for moment in ("checkpoints", "objects", "late"):
        process = run(fpbench, suite, "--runs", "killed", wait=False)
        while process.poll() is None and not _reached(store, moment):
            time.sleep(0.01)
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills >= 2
    code, _, err = run(fpbench, suite, "--runs", "killed")
    assert code == 0, err
    assert contents(tmp_path / "killed" / "fakes") == contents(tmp_path / "whole" / "fakes")


def _reached(store, moment):
    if moment == "checkpoints":
        return any(store.glob("checkpoints/*/*/*/manifest.json"))
    wanted = 1 if moment == "objects" else 30
    return sum(1 for _ in store.glob("objects/??/*/*/manifest.json")) >= wanted


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_control_c_and_its_like_save_and_exit_130(fpbench, suite_file, tmp_path, number, jobs):
    old, new = SLOW
    suite = suite_file((old, new.replace("steps = 40", "steps = 4000")))
    process = run(fpbench, suite, "-j", jobs, wait=False, start_new_session=True)
    store = tmp_path / "runs" / "store"
    while process.poll() is None and not _reached(store, "checkpoints"):
        time.sleep(0.01)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "To go on: fpbench" in err
    assert _reached(store, "checkpoints")


@pytest.mark.timeout(120)
def test_control_c_while_workers_start_is_no_failure(fpbench, suite_file):
    process = run(fpbench, suite_file(SLOW), wait=False, start_new_session=True)
    while process.poll() is None and "train host" not in process.stderr.readline():
        pass
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "To go on: fpbench" in err


@pytest.mark.timeout(180)
def test_workers_give_the_same_records_as_one_process(fpbench, suite_file, tmp_path):
    suite = suite_file()
    assert run(fpbench, suite, "--runs", "one")[0] == 0
    code, _, err = run(fpbench, suite, "--runs", "two", "-j", 2)
    assert code == 0, err
    assert contents(tmp_path / "one" / "fakes") == contents(tmp_path / "two" / "fakes")


@pytest.mark.timeout(180)
def test_two_runs_share_a_store_and_compute_each_stage_once(fpbench, suite_file, tmp_path):
    suite = suite_file(SLOW)
    both = [run(fpbench, suite, "--runs", "both", "-j", 1, wait=False) for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    events = (tmp_path / "both" / "fakes" / "events.jsonl").read_text().splitlines()
    done = [json.loads(line)["stage"] for line in events]
    assert len(done) == len(set(done)) == 28
    assert run(fpbench, suite, "--runs", "one")[0] == 0
    assert contents(tmp_path / "both" / "fakes") == contents(tmp_path / "one" / "fakes")
    assert list((tmp_path / "both" / "store" / "leases").iterdir()) == []


def test_places_that_cannot_be_written_are_named_before_any_work(fpbench, suite_file, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "fakes").write_text("a file")
    code, _, err = run(fpbench, suite_file())
    assert code == 7
    assert "can be written" in err
    assert "train" not in err
    for name in ("a/../../b", ".hidden", "../x"):
        assert run(fpbench, suite_file(), "--name", name)[0] == 2
    assert run(fpbench, suite_file(), "--name", "a" * 300)[0] == 7


def test_exit_codes_tell_what_happened(fpbench, suite_file):
    suite = suite_file()
    code, _, err = fpbench("run", suite_file(('use = "blind"', 'use = "blnd"')), "--no-page")
    assert code == 2
    assert "did you mean 'blind'?" in err
    assert "Traceback" not in err
    assert fpbench("run", "nowhere")[0] == 2
    assert fpbench("nonsense")[0] == 2
    missing = suite_file(('use = "toy-faces"', 'use = "image-folder"\npath = "/no/where"'))
    code, _, err = fpbench("run", missing)
    assert code == 7
    assert "/no/where" in err
    broken = suite_file(('use = "blind"', 'use = "broken"\nwhere = "nan"'))
    code, out, _ = run(fpbench, broken, "--json")
    assert code == 4
    assert json.loads(out)["cells"] == {"done": 8, "failed": 8}
    text = suite.read_text().replace('use = "perfect"', 'use = "broken"')
    suite.write_text(text.replace('use = "broken"\nwhere = "nan"', 'use = "broken"\nlabel = "b"'))
    assert run(fpbench, suite)[0] == 5


def test_a_damaged_store_is_found_by_verify(fpbench, suite_file, tmp_path):
    assert run(fpbench, suite_file(('[[attacks]]\nuse = "bypass"\n', "")))[0] == 0
    code, out, _ = fpbench("cache", "verify")
    assert code == 0
    assert "0 damaged" in out
    victim = next((tmp_path / "runs" / "store").glob("objects/??/*/main/manifest.json"))
    victim.write_text("{}")
    code, out, err = fpbench("cache", "verify")
    assert code == 1
    assert "1 damaged" in out
    assert str(victim.relative_to(tmp_path)) in err


def test_commands_that_only_look(fpbench, suite_file):
    code, out, _ = fpbench("list", "--json")
    assert code == 0
    assert "jpeg" in {row["name"] for row in json.loads(out)["attacks"]}
    code, out, _ = fpbench("info", "jpeg")
    assert code == 0
    assert "quality" in out
    code, out, _ = fpbench("plan", suite_file(), "--json")
    assert code == 0
    assert json.loads(out)["cells"]["pending"] == 16
    code, out, _ = fpbench("plugins")
    assert code == 0
    assert "scalable-gan" in out

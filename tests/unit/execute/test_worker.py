import subprocess
import threading

import pytest

from fpbench.execute import worker
from fpbench.execute.request import Request
from fpbench.execute.worker import Died, Worker
from fpbench.stages.interrupt import Stopped


def test_a_process_that_dies_at_its_start_is_a_failure_of_its_stage(monkeypatch):
    start = subprocess.Popen

    def dead(*command, **options):
        process = start(*command, **options)
        process.kill()
        process.wait()
        return process

    monkeypatch.setattr(worker.subprocess, "Popen", dead)
    alive = Worker(Request("quickstart"), 0)
    with pytest.raises(Died, match="SIGKILL"):
        alive.run("a" * 64)
    alive.close()


def test_a_process_that_is_killed_from_here_has_not_run_out_of_memory(monkeypatch):
    start = subprocess.Popen
    monkeypatch.setattr(
        worker.subprocess, "Popen", lambda command, **options: start(["sleep", "60"], **options)
    )
    asleep = Worker(Request("quickstart"), 0)
    killer = threading.Timer(0.5, asleep.kill)
    killer.start()
    with pytest.raises(Stopped):
        asleep.run("a" * 64)
    killer.join()
    asleep.close()


def test_memory_that_a_step_frees_is_kept_unless_the_user_says_otherwise(monkeypatch):
    start, given = subprocess.Popen, []

    def short(command, env, **options):
        given.append(env)
        return start(["true"], env=env, **options)

    monkeypatch.setattr(worker.subprocess, "Popen", short)
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "7")
    ended = Worker(Request("quickstart"), 0)
    with pytest.raises(Died):
        ended.run("a" * 64)
    ended.close()
    env = given[0]
    assert env["MALLOC_MMAP_THRESHOLD_"] == "7"
    assert env["MALLOC_TRIM_THRESHOLD_"] == str(2**29)
    assert env["PATH"]  # and all else of the parent's

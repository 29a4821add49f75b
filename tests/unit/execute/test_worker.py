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

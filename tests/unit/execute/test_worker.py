import subprocess

import pytest

from fpbench.execute import worker
from fpbench.execute.request import Request
from fpbench.execute.worker import Died, Worker


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

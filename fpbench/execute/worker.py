"""A process that runs jobs: one JSON line in for each job, JSON lines out.

in   {"request": …, "slot": 0}          once
     {"job": "fit:2"}                   then, any number of times
out  {"progress": [done, total, text]}
     {"done": [problem, …]} | {"no_space": message} | {"interrupted": true}
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from fpbench.api import NoSpace, Outcome
from fpbench.execute.interrupt import Interrupt, graceful
from fpbench.execute.jobs import JobRunner, Problem
from fpbench.execute.request import Request
from fpbench.store import Store


class Worker:
    """The parent's end of a worker process.

    Args:
        request: what is run.
        slot: number of the worker.
    """

    def __init__(self, request: Request, slot: int) -> None:
        self._request = request
        self._slot = slot
        self._process: subprocess.Popen[str] | None = None
        self._interrupted = False

    def run(self, job: str, on_progress: Callable[[int, int, str], None]) -> list[Problem]:
        """Run a job there; a process that dies is a problem of its job, and is replaced."""
        process = self._alive()
        assert process.stdin is not None
        assert process.stdout is not None
        _send(process.stdin, {"job": job})
        for line in process.stdout:
            message = json.loads(line)
            if "progress" in message:
                on_progress(*message["progress"])
            elif "no_space" in message:
                raise NoSpace(message["no_space"])
            elif "interrupted" in message:
                raise KeyboardInterrupt
            else:
                return [Problem(**{**p, "outcome": Outcome(p["outcome"])}) for p in message["done"]]
        code = process.wait()
        self._process = None
        reason = f"the worker process died (exit code {code}); it may have run out of memory"
        return [Problem(job, job, Outcome.FAILED, reason, "")]

    def interrupt(self) -> None:
        """Ask the process to save and stop, once; it may have had the user's Ctrl-C itself."""
        if self._process is not None and not self._interrupted:
            self._interrupted = True
            self._process.send_signal(signal.SIGUSR1)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
            self._process = None

    def _alive(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            # Ctrl-C reaches the whole group. Until the worker can save, which takes the seconds of
            # its imports, only this end hears it, and asks later.
            start = (
                "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
                "from fpbench.execute.worker import main; main()"
            )
            self._process = subprocess.Popen(  # noqa: S603 - a text of ours
                [sys.executable, "-c", start],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert self._process.stdin is not None
            request = self._request.to_json()
            _send(self._process.stdin, {"request": request, "slot": self._slot})
        return self._process


def main() -> None:
    """Serve jobs until standard input ends."""
    out = sys.stdout
    sys.stdout = sys.stderr  # a plugin that prints must not break the protocol
    first = json.loads(sys.stdin.readline())
    request = Request.from_json(first["request"])
    plan, _ = request.plan()
    interrupt = Interrupt()

    def progress(done: int, total: int, text: str) -> None:
        _send(out, {"progress": [done, total, text]})

    runner = JobRunner(
        plan, request, Store(Path(request.store)), progress, interrupt, first["slot"]
    )
    with graceful(interrupt):
        for line in sys.stdin:
            try:
                problems = runner.run(json.loads(line)["job"])
            except NoSpace as error:
                _send(out, {"no_space": str(error)})
            except KeyboardInterrupt:
                _send(out, {"interrupted": True})
                return
            else:
                _send(out, {"done": [asdict(problem) for problem in problems]})


def _send(pipe: IO[str], message: dict[str, Any]) -> None:
    pipe.write(json.dumps(message) + "\n")
    pipe.flush()

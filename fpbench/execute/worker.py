"""A process that runs stages: one JSON line in for each of them, JSON lines out.

in   {"request": …, "slot": 0}          once
     {"stage": key, "skip": [place, …]} then, any number of times
     {"stop": true}                     save and stop
out  {"progress": [done, total, text]}
     {"at": place}                      where it is, in case it dies there
     {"done": [problem, …]} | {"no_space": message} | {"stopped": true}

They travel over descriptors of their own: what a plugin, a library or a program that it starts
writes to the standard ones goes into a file, and its standard input is empty.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO, Any

from fpbench.api import NoSpace, Outcome
from fpbench.execute.problems import Problem
from fpbench.execute.request import Request
from fpbench.execute.runner import Runner
from fpbench.stages.interrupt import Interrupt, Stopped
from fpbench.stages.place import Place
from fpbench.store import Store

_TAIL = 4000
_GRACE_S = 10.0
_PR_SET_PDEATHSIG = 1
# What a step of a training frees, the next one takes again. glibc would give it back to the system
# every time, which costs a tenth of a training on a CPU, and more of one whose maps are long.
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(512 << 20)}


class Died(Exception):
    """The process of a stage ended.

    Attributes:
        problem: what is known of it.
        at: where it was; None = in nobody's attack, or too late.
    """

    def __init__(self, problem: Problem, at: Place | None) -> None:
        super().__init__(problem.reason)
        self.problem = problem
        self.at = at


class Worker:
    """The parent's end of a worker process.

    Args:
        request: what is run.
        slot: number of the worker.
        stage_s: seconds that a stage may take; None = no limit.
    """

    def __init__(self, request: Request, slot: int, stage_s: float | None = None) -> None:
        self._request = request
        self._slot = slot
        self._stage_s = stage_s
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = self._killed = False
        self.on_progress: Callable[[int, int, str], None] = lambda done, total, text: None

    def run(self, key: str, skip: Collection[Place] = ()) -> list[Problem]:
        """Run a stage there.

        Raises:
            Died: its process ended; the next stage gets a new one.
            Stopped: it saved and stopped as it was asked to, or was killed from here.
        """
        self._alive()
        at: Place | None = None
        timed_out = threading.Event()
        timer = None
        if self._stage_s is not None:
            longest = min(self._stage_s, threading.TIMEOUT_MAX)
            timer = threading.Timer(longest, self._end_late, (timed_out,))
            timer.start()
        try:
            with contextlib.suppress(OSError):  # it died before: reading says so
                _send(self._down, {"stage": key, "skip": list(skip)})
            for line in self._up:
                message = json.loads(line)
                if "progress" in message:
                    self.on_progress(*message["progress"])
                elif "at" in message:
                    at = tuple(message["at"]) if message["at"] else None
                elif "no_space" in message:
                    raise NoSpace(message["no_space"])
                elif "stopped" in message:
                    raise Stopped
                else:
                    return [Problem.from_json(each) for each in message["done"]]
        finally:
            if timer is not None:
                timer.cancel()
        late = timed_out.is_set()
        if self._killed and not late:
            raise Stopped
        raise Died(self._last_words(key, late=late), None if late else at)

    def stop(self) -> None:
        """Ask the process to save and stop, once."""
        if self._process is not None and not self._asked:
            self._asked = True
            with contextlib.suppress(OSError, ValueError):
                _send(self._down, {"stop": True})

    def close(self) -> None:
        """End the process, and whatever it has started."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):  # it may have died before it heard of its request
            self._down.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        self.kill()
        self._up.close()
        self._said.close()
        self._process = None

    def _alive(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._asked = self._killed = False
        their_in, our_out = os.pipe()
        our_in, their_out = os.pipe()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        start = f"from fpbench.execute.worker import main; main({their_in}, {their_out})"
        self._process = subprocess.Popen(  # noqa: S603 - a text of ours
            [sys.executable, "-c", start],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            env=_ALLOCATOR | dict(os.environ),
            pass_fds=(their_in, their_out),
            start_new_session=True,  # Ctrl-C is ours to hear; and all of it can be ended together
        )
        os.close(their_in)
        os.close(their_out)
        self._down = os.fdopen(our_out, "w", encoding="utf-8")
        self._up = os.fdopen(our_in, "r", encoding="utf-8")
        with contextlib.suppress(OSError):
            _send(self._down, {"request": self._request.to_json(), "slot": self._slot})

    def _end_late(self, timed_out: threading.Event) -> None:
        timed_out.set()
        self.kill()

    def kill(self) -> None:
        """End the process at once, and whatever it has started."""
        if self._process is not None:
            self._killed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _last_words(self, key: str, *, late: bool) -> Problem:
        assert self._process is not None
        code = self._process.wait()
        said = self._tail()
        self.close()
        if late:
            assert self._stage_s is not None
            reason = (
                f"expected to end within {self._stage_s / 3600:g} hours, and was ended; allow more "
                "with --stage-hours, or [limits] stage_hours in the suite"
            )
            return Problem(key, key, Outcome.TIMED_OUT, reason, said)
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        reason = f"the process that ran it died ({how})"
        if code == -signal.SIGKILL:
            reason += "; it may have run out of memory"
        return Problem(key, key, Outcome.FAILED, reason, said)

    def _tail(self) -> str:
        """The last lines that it or a plugin in it has printed."""
        size = self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, size - _TAIL))
        return self._said.read().decode("utf-8", "replace")


def main(down: int, up: int) -> None:
    """Serve stages until the parent's end closes; then nothing of this process stays.

    Args:
        down: descriptor that stages come in by.
        up: descriptor that answers go out by.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    interrupt = Interrupt()
    out = os.fdopen(up, "w", encoding="utf-8")
    for descriptor in (down, up):
        os.set_inheritable(descriptor, False)  # programs that plugins start must not hold them
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(down, lines, interrupt), daemon=True).start()
    try:
        _serve(lines, out, interrupt)
    finally:
        with contextlib.suppress(OSError):
            out.flush()
            sys.stdout.flush()
        os._exit(0)  # whatever threads a plugin has left behind


def _end_with_parent() -> None:
    """Die when the parent does, also where a plugin never lets another thread run; Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _listen(down: int, lines: queue.Queue[str], interrupt: Interrupt) -> None:
    with os.fdopen(down, "r", encoding="utf-8") as pipe:
        for line in pipe:
            if json.loads(line).get("stop"):
                interrupt.requested = True
            else:
                lines.put(line)
    os._exit(0)  # the parent has closed it, or has died


def _serve(lines: queue.Queue[str], out: IO[str], interrupt: Interrupt) -> None:
    first = json.loads(lines.get())
    request = Request.from_json(first["request"])
    plan, _ = request.plan()
    sent = 0.0

    def progress(done: int, total: int, text: str) -> None:
        nonlocal sent
        now = time.monotonic()
        if done == total or now - sent > 0.1:
            sent = now
            _send(out, {"progress": [done, total, text]})

    store = Store(Path(request.store))
    runner = Runner(
        plan,
        request,
        store,
        progress,
        interrupt,
        first["slot"],
        lambda place: _send(out, {"at": place}),
    )
    while True:
        told = json.loads(lines.get())
        _forget_what_was_said()
        try:
            problems = runner.run(told["stage"], [tuple(place) for place in told["skip"]])
        except NoSpace as error:
            _send(out, {"no_space": str(error)})
        except Stopped:
            _send(out, {"stopped": True})
        else:
            _send(out, {"done": [problem.as_json() for problem in problems]})


def _forget_what_was_said() -> None:
    """Empty the file behind standard output: what is kept of a failure is its own."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        os.ftruncate(1, 0)
        os.lseek(1, 0, os.SEEK_SET)


def _send(pipe: IO[str], message: dict[str, Any]) -> None:
    pipe.write(json.dumps(message) + "\n")
    pipe.flush()

"""Run a real Ray cluster on one machine, for tests.

``local_ray()`` starts a head that runs nothing and some nodes, each a `ray start` of its own on
loopback, without dashboard or usage statistics, open to who has its token, and ends all of it on
exit.

    with local_ray("one", "two") as ray:
        subprocess.run(["ray", "status", f"--address={ray.address}"], env=ray.env, check=True)
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from local_slurm import _free_ports

START_SECONDS = 60.0
_MARK = "FPBENCH_TEST_NODE"
_SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A node that answers no more is given up after three seconds; one that is slow is not.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


@dataclass
class LocalRay:
    """A running cluster: ``env`` is what a process needs to reach it at ``address``."""

    root: Path
    address: str
    env: dict[str, str]
    _nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, repr=False)

    def pilots(self, name: str) -> set[int]:
        """Processes of pilots on a node."""
        return {pid for pid in self._processes(name) if b"fpbench.execute.pilot" in _command(pid)}

    def kill_node(self, name: str) -> None:
        """End a node at once and everything on it, as a power cut would."""
        with suppress(ProcessLookupError):
            os.killpg(self._nodes[name].pid, signal.SIGKILL)
        self._nodes[name].wait()
        while found := self._processes(name):
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def start_node(self, name: str, number: int) -> None:
        """Start a node with a place for one pilot on 127.0.0.``number``, or start it again."""
        self._start(name, 1, f"--address={self.address}", f"--node-ip-address=127.0.0.{number}")

    def _start(self, name: str, cpus: int, *options: str) -> None:
        """Start a node; Ray gives up by itself where the machine is slow, so try twice."""
        self._launch(name, cpus, *options)
        try:
            self._wait_for(name)
        except TimeoutError:
            self.kill_node(name)
            self._launch(name, cpus, *options)
            self._wait_for(name)

    def _launch(self, name: str, cpus: int, *options: str) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options]
        command += ["--min-worker-port=0", "--max-worker-port=0", "--include-log-monitor=false"]
        command += [f"--num-cpus={cpus}", "--num-gpus=0", f"--object-store-memory={80 * 2**20}"]
        with self._said(name).open("wb") as said:
            self._nodes[name] = subprocess.Popen(
                command,
                env={**self.env, _MARK: f"{self.root} {name}"},
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_for(self, name: str) -> None:
        end = time.monotonic() + START_SECONDS
        while "Ray runtime started" not in (said := self._said(name).read_text(errors="replace")):
            if self._nodes[name].poll() is not None or time.monotonic() > end:
                raise TimeoutError(f"node {name} of Ray did not come up: {said}")
            time.sleep(0.1)

    def _said(self, name: str) -> Path:
        return self.root / f"{name}.txt"

    def _processes(self, name: str) -> list[int]:
        """Those of a node: its session, and what has left that with its environment."""
        mark, found = f"{_MARK}={self.root} {name}".encode(), []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                state = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                environ = (entry / "environ").read_bytes().split(b"\0")
                own = int(state[3]) == self._nodes[name].pid or mark in environ
                if own and state[0] != b"Z":
                    found.append(int(entry.name))
        return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def local_ray(*names: str) -> Iterator[LocalRay]:
    """Run Ray with nodes of these names, each with a place for one pilot, and end it after."""
    root = Path(tempfile.mkdtemp(prefix="ray-"))  # short: Ray makes sockets below it
    port, client = _free_ports(2)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env = {**kept, **_SETTINGS, "RAY_AUTH_TOKEN": secrets.token_hex(16), "HOME": str(root)}
    ray = LocalRay(root, f"127.0.0.2:{port}", env)
    try:
        ports = (f"--port={port}", f"--ray-client-server-port={client}")
        own = (f"--temp-dir={root}/own", "--include-dashboard=false")
        ray._start("head", 0, "--head", "--node-ip-address=127.0.0.2", *ports, *own)
        for number, name in enumerate(names, 3):
            ray.start_node(name, number)
        yield ray
    finally:
        for name in reversed(list(ray._nodes)):
            ray.kill_node(name)
        shutil.rmtree(root, ignore_errors=True)

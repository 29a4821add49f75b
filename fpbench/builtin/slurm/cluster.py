"""`slurm`: pilots as batch jobs. It speaks to Slurm's own commands; nothing is pickled."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fpbench.api import Card, Cluster, MissingResource, Needs, Params, digest

_ALIVE = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "RESIZING"}
_STUCK = {"PartitionConfig", "BadConstraints", "InvalidAccount", "InvalidQOS", "PartitionNodeLimit"}
"""Reasons for which a job waits for ever."""


class SlurmParams(Params):
    """Where pilots go, and how many at once.

    Attributes:
        partition: Slurm's; empty = its default.
        account: whom the time is put down to; empty = Slurm's default.
        time: limit of one pilot as Slurm writes it, e.g. "1-12:00:00"; empty = the partition's. A
            pilot that is ended by it has saved, and another goes on.
        cap: pilots at once, queued ones among them.
        cpus: processors of one pilot.
        gpus: GPUs of one pilot.
        memory_gib: memory of one pilot; 0 = Slurm's default.
    """

    partition: str = ""
    account: str = ""
    time: str = ""
    cap: Annotated[int, Field(ge=1)] = 8
    cpus: Annotated[int, Field(ge=1)] = 1
    gpus: Annotated[int, Field(ge=0)] = 0
    memory_gib: Annotated[float, Field(ge=0)] = 0.0


class SlurmCluster(Cluster[SlurmParams]):
    """Submits pilots with sbatch, as many as stages wait for one, up to its cap.

    A pilot that is preempted, or whose node is lost, is queued again by Slurm. Pilots go on when
    the process that has submitted them ends.
    """

    name = "slurm"
    version = "1"
    Params = SlurmParams
    card = Card("Slurm", "own", "Apache-2.0", "Runs stages as batch jobs that share the store.")

    def __init__(self, params: SlurmParams) -> None:
        super().__init__(params)
        self._names: set[str] = set()

    def keep(self, command: Sequence[str], folder: Path, needs: Needs, wanted: int) -> int:
        """See `Cluster.keep`."""
        name = f"fpbench-{digest(str(folder))[:12]}"
        self._names.add(name)
        lacking = max(0, min(wanted, self.params.cap) - self._alive(name))
        for _ in range(lacking):
            self._submit(name, command, folder, needs)
        return lacking

    def close(self, *, cancel: bool) -> None:
        """See `Cluster.close`."""
        for name in self._names if cancel else ():
            self._call(["scancel", "--name", name])

    def _alive(self, name: str) -> int:
        lines = self._call(["squeue", "-h", "-t", "all", "--name", name, "-o", "%T|%r"]).split()
        states = [line.split("|") for line in lines if "|" in line]
        for state, reason in states:
            if state == "PENDING" and reason in _STUCK:
                raise MissingResource(
                    f"executor slurm: expected a place for pilots of {self._asked()}, got the "
                    f"answer {reason}: they would wait for ever; ask for what the partition has"
                )
        return sum(state in _ALIVE for state, _ in states)

    def _submit(self, name: str, command: Sequence[str], folder: Path, needs: Needs) -> None:
        p, memory = self.params, max(self.params.memory_gib, needs.memory_gib)
        gpus = max(p.gpus, needs.gpus)
        options = [
            f"--job-name={name}",
            f"--cpus-per-task={p.cpus}",
            f"--output={folder}/%j.txt",
            "--open-mode=append",
            "--requeue",
            "--signal=B:TERM@60",
            *([f"--partition={p.partition}"] if p.partition else []),
            *([f"--account={p.account}"] if p.account else []),
            *([f"--time={p.time}"] if p.time else []),
            *([f"--gres=gpu:{gpus}"] if gpus else []),
            *([f"--mem={round(memory * 1024)}M"] if memory else []),
        ]
        # The pilot itself gets the signals, so that it can save.
        script = f"#!/bin/sh\nexec {shlex.join(command)}\n"
        self._call(["sbatch", "--parsable", *options], script)

    def _asked(self) -> str:
        return ", ".join(f"{k} {v}" for k, v in self.params.model_dump().items() if v)

    def _call(self, command: list[str], text: str = "") -> str:
        if shutil.which(command[0]) is None:
            raise MissingResource(
                f"executor slurm: expected Slurm's command {command[0]}, got a machine without it; "
                "run this where jobs are submitted, or use --executor local"
            )
        done = subprocess.run(  # noqa: S603 - arguments of ours, never through a shell
            command, input=text, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip().replace("\n", " ")[:500]
            raise MissingResource(
                f"executor slurm: expected {command[0]} to do it, got {said}; check partition, "
                "account, time and what is asked for, then run the same command again"
            )
        return done.stdout

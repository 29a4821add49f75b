"""Has pilots run stages on a cluster, and follows what they do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fpbench.api import Cluster, MissingResource, Needs, NoSpace
from fpbench.execute.attempt import Attempt
from fpbench.execute.problems import Problem
from fpbench.execute.schedule import Schedule
from fpbench.plan import Stage
from fpbench.store import Leases

_MOST_VAIN = 20
"""Pilots started in a row that ran no stage, before the run gives up."""

Ended = Callable[[Stage, float, list[Problem]], None]
"""Told once how a stage has ended at a pilot: its seconds, and its problems."""


class Pilots:
    """The pilots of one attempt.

    Args:
        cluster: where they run.
        attempt: begun already; by it they know what to do.
        is_done: whether a stage is in the store; None = not yet.
        ended: told how stages have ended.
    """

    def __init__(
        self,
        cluster: Cluster[Any],
        attempt: Attempt,
        is_done: Callable[[Stage], bool | None],
        ended: Ended,
    ) -> None:
        self._cluster = cluster
        self._attempt = attempt
        self._is_done = is_done
        self._ended = ended
        self._command = [sys.executable, "-m", "fpbench.execute.pilot", str(attempt.folder)]
        self._told: set[str] = set()
        self._looked = 0
        self._vain = 0

    def follow(
        self, stages: Mapping[str, Stage], leases: Leases, halted: Callable[[], bool]
    ) -> None:
        """Have stages run until all have ended, or nothing more is to be started.

        Raises:
            NoSpace: the disk of a pilot is full.
            MissingResource: pilots come and go, and do nothing.
        """
        Schedule(stages, lambda key: False, self._verdict, leases, halted).watch(self._tick)

    def _verdict(self, stage: Stage) -> bool | None:
        ended = self._attempt.ended(stage.key)
        if ended is None:
            return self._is_done(stage)
        seconds, problems = ended
        if stage.key not in self._told:
            self._told.add(stage.key)
            self._ended(stage, seconds, problems)
        return all(problem.key != stage.key for problem in problems)

    def _tick(self, at_work: int, free: list[Stage]) -> None:
        lack = self._attempt.lack()
        if lack is not None:
            raise NoSpace(lack)
        # Pilots may come and go; that they go again and again, and do nothing, is no accident.
        self._vain = 0 if at_work or len(self._told) > self._looked else self._vain
        self._looked = len(self._told)
        said, wanted = self._attempt.said, at_work + len(free)
        self._vain += self._cluster.keep(self._command, said, _heaviest(free), wanted)
        if self._vain > _MOST_VAIN:
            raise MissingResource(
                f"executor {self._cluster.name}: expected pilots to run {len(free)} stages, got "
                f"{self._vain} that ended without any; what they said is in {said}"
            )


def _heaviest(stages: Iterable[Stage]) -> Needs:
    """What the most demanding of some stages asks for."""
    needs = [stage.needs for stage in stages]
    return Needs(
        max((n.gpus for n in needs), default=0), max((n.memory_gib for n in needs), default=0.0)
    )

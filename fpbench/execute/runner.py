"""Runs stages by key in this process; what a plugin breaks comes back as problems."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from typing import TYPE_CHECKING

from fpbench.api import NoSpace, StageError
from fpbench.api.context import Peers
from fpbench.execute.machine import resolve_device, stage_threads, thread_count
from fpbench.execute.problems import Problem, problem_of
from fpbench.execute.request import Request
from fpbench.plan import Graph, Plan, Stage, graph_of
from fpbench.plan.stages import TRAINS, cell_label
from fpbench.stages import process
from fpbench.stages.interrupt import Interrupt
from fpbench.stages.place import Place
from fpbench.store import Store

if TYPE_CHECKING:
    import torch

    from fpbench.stages.bench import Bench


class Runner:
    """Runs stages in this process; loads torch at the first one.

    Args:
        plan: what the stages belong to.
        request: device, threads, store.
        store: opened store.
        on_progress: told (done, total, text).
        interrupt: set when the user wants to stop.
        slot: number of this process among those that share the machine.
        at: told where within a stage it is.
    """

    def __init__(
        self,
        plan: Plan,
        request: Request,
        store: Store,
        on_progress: Callable[[int, int, str], None] | None = None,
        interrupt: Interrupt | None = None,
        slot: int = 0,
        at: Callable[[Place | None], None] = lambda place: None,
    ) -> None:
        self._plan = plan
        self._request = request
        self._store = store
        self.on_progress = on_progress or (lambda done, total, text: None)
        self._interrupt = interrupt or Interrupt()
        self._slot = slot
        self._at = at

    @cached_property
    def graph(self) -> Graph:
        """The stages by key."""
        return graph_of(self._plan)

    def run(self, key: str, skip: Collection[Place] = ()) -> list[Problem]:
        """Run a stage.

        Args:
            key: of the stage.
            skip: places that have ended a process before.

        Raises:
            NoSpace: the disk is full.
            KeyboardInterrupt: the user stopped it, after everything was saved.
        """
        label = key
        try:
            stage = self._stage(key)
            label = stage.label
            self._set_threads(stage)
            bench = self._bench  # made outside of what is put back behind a job
            bench.skip = skip
            with process.job():
                return self._run(stage, bench)
        except NoSpace:
            raise
        except Exception as error:  # noqa: BLE001 - whatever fails is the stage's outcome
            return [problem_of(key, label, error)]

    def device(self, rank: int = 0) -> torch.device:
        """Where this process computes: each slot has as many devices as a training takes."""
        import torch

        place = self._slot * self._request.devices + rank
        return torch.device(resolve_device(self._request.device, place, self._request.devices))

    def train(self, key: str, device: torch.device, peers: Peers) -> None:
        """Help with a training that another process leads."""
        from fpbench.stages.bench import Bench
        from fpbench.stages.table import RUNS

        stage = self._stage(key)
        self._set_threads(stage)
        RUNS[stage.kind](stage, Bench(self._plan, self._store, device, peers=peers))

    def _run(self, stage: Stage, bench: Bench) -> list[Problem]:
        from fpbench.execute.together import group_of
        from fpbench.stages.table import RUNS

        if stage.kind in TRAINS and self._store.has(stage.key):
            return []
        together = self._request.devices if stage.kind in TRAINS else 1
        with group_of(self._request, stage.key, self._slot, bench.device, together) as peers:
            bench.peers = peers
            try:
                failures = RUNS[stage.kind](stage, bench) or {}
            finally:
                bench.peers = Peers()
        labels = {cell.key: cell_label(cell) for cell in stage.cells if cell.key in failures}
        return [problem_of(key, labels[key], error) for key, error in failures.items()]

    def _stage(self, key: str) -> Stage:
        if key not in self.graph.stages:
            raise StageError(
                f"stage {key[:16]}…: expected to find it in the plan, got a plan without it; a "
                "plugin's source, or a file it needs, has changed since the run began: run the "
                "same command again"
            )
        return self.graph.stages[key]

    def _set_threads(self, stage: Stage) -> None:
        import torch

        torch.set_num_threads(stage_threads(self._request, stage.kind))

    @cached_property
    def _bench(self) -> Bench:
        from fpbench.stages.bench import Bench

        return Bench(
            self._plan,
            self._store,
            self.device(),
            lambda done, total, text: self.on_progress(done, total, text),
            self._interrupt,
            threads=thread_count(self._request),
            at=self._at,
        )

    def stop(self) -> None:
        """Nothing to ask: the wish to stop is shared."""

    def kill(self) -> None:
        """Nothing to end."""

    def close(self) -> None:
        """Nothing to end."""

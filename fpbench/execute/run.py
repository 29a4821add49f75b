"""Runs a plan into a store: what is pending, in order, each failure kept to its own cells.

This module imports no torch: a run that finds everything in the store never loads it.
"""

from __future__ import annotations

import json
import queue
import secrets
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from fpbench.api import (
    Cluster,
    Executor,
    MissingResource,
    Outcome,
    StoreError,
    digest,
)
from fpbench.execute.accepting import accept_source, keep_sources
from fpbench.execute.attempt import Attempt
from fpbench.execute.careful import Careful, Deadly
from fpbench.execute.estimate import estimate, past_of
from fpbench.execute.machine import memory_gib
from fpbench.execute.problems import Problem, write_log
from fpbench.execute.records import headline
from fpbench.execute.request import Request, write_request
from fpbench.execute.results import write_results
from fpbench.execute.runner import Runner
from fpbench.execute.schedule import Schedule, pending_stages
from fpbench.execute.sending import Pilots
from fpbench.execute.worker import Worker
from fpbench.plan import Cell, Kind, Plan, Stage, graph_of
from fpbench.plan.pending import is_done, pending_of_copy, share_pending
from fpbench.plan.stages import cell_label
from fpbench.registry import Catalogue
from fpbench.spec import suite_text
from fpbench.stages.interrupt import Interrupt, Stopped, graceful
from fpbench.store import Leases, Store


class Reporter(Protocol):
    """Told what happens; the command line shows it."""

    def planned(self, stages: int, about: str) -> None:
        """So many stages are to be done, and how long that takes; empty = nobody knows."""
        ...

    def ended(self) -> None:
        """One of the stages that were planned ended."""
        ...

    def started(self, label: str) -> None:
        """A stage begins."""
        ...

    def progress(self, label: str, done: int, total: int, text: str) -> None:
        """A running stage moves on."""
        ...

    def finished(self, label: str, outcome: Outcome, seconds: float, note: str) -> None:
        """A stage ended."""
        ...

    def waiting(self, label: str, whom: str) -> None:
        """Nothing is to be done until a stage ends that somebody else is at."""
        ...


@dataclass(frozen=True)
class Settings:
    """How to run, none of which changes what a number means.

    Attributes:
        command: how to repeat the run, for the records.
        repair: drop damaged artefacts and make them again.
        accept_source: take over what the run made with other source of its components.
        here: run stages in this process, where a plugin may end more than its cells.
        fail_fast: start nothing more once something has failed.
        stage_hours: that a stage may take; 0 = no limit.
        most_hours: that the run may take before it stops as for Ctrl-C; 0 = no limit.
        cluster: whose pilots run the stages; None = this machine.
    """

    command: str = ""
    repair: bool = False
    accept_source: bool = False
    here: bool = False
    fail_fast: bool = False
    stage_hours: float = 0.0
    most_hours: float = 0.0
    cluster: Cluster[Any] | None = None


@dataclass
class Summary:
    """How a run ended.

    Attributes:
        executed: stages that were run.
        cells: number of cells by outcome.
        problems: (label, outcome, reason) of every cell that is neither done nor refused.
        interrupted: stopped by the user; the same command goes on.
        seconds: seconds of each stage that was run.
        unavailable: name -> reason of published networks whose numbers are left out.
        headline: the first numbers of each training, for people.
    """

    executed: int = 0
    cells: dict[Outcome, int] = field(default_factory=dict)
    problems: list[tuple[str, Outcome, str]] = field(default_factory=list)
    interrupted: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    headline: list[str] = field(default_factory=list)

    @property
    def measured(self) -> int:
        """Cells that have numbers."""
        return self.cells.get(Outcome.DONE, 0)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "executed": self.executed,
            "cells": {str(k): v for k, v in self.cells.items()},
            "problems": [
                {"label": label, "outcome": str(outcome), "reason": reason}
                for label, outcome, reason in self.problems
            ],
            "unavailable": self.unavailable,
            "seconds": {k: round(v, 2) for k, v in self.seconds.items()},
        }


_READING = (Kind.COPY, Kind.NEGATIVES, Kind.MEASURING)
_LIGHT = 30_000
"""Images to attack and read up to which one process does it: a second takes seconds to start."""
OF_ITS_OWN = (Outcome.UNAVAILABLE, Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT)
"""Outcomes of a stage that its cells have too, instead of being blocked by it."""


class Run:
    """One suite executed into a store.

    Args:
        plan: what to run.
        request: what was asked for, for worker processes.
        folder: the run's own folder: records, events, logs.
        catalogue: finds the executor; its observers are told.
        reporter: told what happens.
        settings: how to run.
    """

    def __init__(
        self,
        plan: Plan,
        request: Request,
        folder: Path,
        catalogue: Catalogue,
        reporter: Reporter,
        settings: Settings,
    ) -> None:
        self._plan = plan
        # As it is now: hours may pass until it is kept.
        self._suite_text = suite_text(request.suite, request.plugins)
        self._request = request.knowing(plan.backbones, plan.facts)
        self._store = Store(Path(request.store))
        self._folder = folder
        self._catalogue = catalogue
        self._reporter = reporter
        self._settings = settings
        self._interrupt = Interrupt()
        self._leases = Leases(self._store.root)
        self._graph = graph_of(plan)
        self._failed: dict[str, Problem] = {}
        # By number of the training: what has ended its process is not tried on the next copy.
        self._deadly: Deadly = defaultdict(list)
        self._summary = Summary()
        self._started = time.monotonic()

    def execute(self) -> Summary:
        """Run everything pending, then write records and samples; what was asked is kept first.

        Raises:
            NoSpace: the disk is full; what was committed stays.
        """
        for place in (self._folder, self._store.root):
            _check_writable(place)
        self._store.sweep()
        if self._settings.repair:
            self._repair()
        if self._settings.accept_source:
            self._accept_source()
        self._keep_request()
        with graceful(self._interrupt):
            try:
                self._stages()
            except Stopped:
                self._summary.interrupted = True
                return self._summary
            finally:
                self._leases.close()
        self._summary.unavailable = {b.name: b.reason for b in self._plan.backbones if b.reason}
        with alone_in(self._folder, self._store.root):
            outcomes = self._outcomes()
            self._write_request()
            command = self._settings.command
            write_results(self._plan, self._store, self._folder, outcomes, command)
        self._summary.headline = headline(self._plan, self._store, outcomes)
        return self._summary

    # -- stages ------------------------------------------------------------------------------

    def _stages(self) -> None:
        stages = self._pending()
        if stages and self._try_backbones():
            stages = self._pending()
        if stages:
            self._reporter.planned(len(stages), self._about(stages))
            self._do(stages)

    def _about(self, stages: Mapping[str, Stage]) -> str:
        """How long stages take, by what they have taken in runs of the suite."""
        past = past_of(self._plan.suite.header.name, self._folder.parent)
        share = partial(share_pending, plan=self._plan, store=self._store)
        return estimate(stages, past, self._request.jobs, share).line() if past else ""

    def _do(self, stages: Mapping[str, Stage]) -> None:
        if self._settings.cluster is not None:
            self._send(stages, self._settings.cluster)
        else:
            self._walk(stages)

    def _pending(self) -> dict[str, Stage]:
        # What was dropped as damaged is made again, whether or not a number needs it.
        whole = self._settings.repair
        return pending_stages(self._graph, self._plan, self._store, whole=whole)

    def _try_backbones(self) -> bool:
        """Load every published network once; what fails is as unavailable as what is missing.

        Returns whether there were any.
        """
        stages = {
            stage.key: stage
            for stage in self._graph.of(Kind.BACKBONE)
            if not self._store.has(stage.key)
        }
        if not stages:
            return False
        self._do(stages)
        reasons = {
            stages[key].of_backbone.name: self._failed.pop(key).reason
            for key in stages.keys() & self._failed
        }
        if reasons:
            # A network that does not work gives the cells other keys.
            tried = (
                replace(b, path=None, digest="", reason=reasons[b.name]) if b.name in reasons else b
                for b in self._plan.backbones
            )
            self._request = self._request.knowing(tried, self._plan.facts)
            self._plan, _ = self._request.plan()
            self._graph = graph_of(self._plan)
            self._keep_request()
        return True

    def _walk(self, stages: Mapping[str, Stage]) -> None:
        """Run stages on this machine as they become ready."""
        jobs = 1 if self._is_light(stages) else self._request.jobs
        # What runs in this process wants its main thread; all else leaves it free to hear Ctrl-C.
        executor = self._executor(0 if self._settings.here else jobs)
        workers: queue.Queue[Worker | Runner] = queue.Queue()
        for slot in range(executor.capacity()):
            workers.put(self._worker(slot))
        everyone = list(workers.queue)
        groups = Groups(stages.values(), self._reporter)

        def run(key: str) -> bool:
            worker = workers.get()
            try:
                return self._run(worker, stages[key], groups)
            finally:
                workers.put(worker)

        schedule = Schedule(
            stages,
            run,
            self._verdict,
            self._leases,
            self._halted,
            memory_gib(),
            lambda stage, holder: self._reporter.waiting(stage.label, holder.text()),
        )

        def tick() -> None:
            if self._interrupt.requested:
                for worker in everyone:
                    worker.stop()

        try:
            schedule.walk(executor, tick)
        except BaseException:
            for worker in everyone:
                worker.kill()
            raise
        finally:
            executor.close(cancel=True)
            for worker in everyone:
                worker.close()
        if self._interrupt.requested:
            raise Stopped

    def _verdict(self, stage: Stage) -> bool | None:
        return True if is_done(stage, self._plan, self._store) else None

    def _send(self, stages: Mapping[str, Stage], cluster: Cluster[Any]) -> None:
        """Have pilots run stages on a cluster, and follow what they do."""
        hours = self._settings.stage_hours
        attempt = Attempt(self._folder.resolve() / "attempts" / secrets.token_hex(4))
        request = replace(self._request, jobs=1, store=str(self._store.root.resolve()))
        attempt.begin(request, stage_s=3600 * hours if hours else None)
        groups = Groups(stages.values(), self._reporter)

        def ended(stage: Stage, seconds: float, problems: list[Problem]) -> None:
            for problem in problems:
                self._fail(problem)
            groups.started(stage)
            own = next((p for p in problems if p.key == stage.key), None)
            self._end(stage, groups, seconds, own)

        done = False
        try:
            pilots = Pilots(cluster, attempt, self._verdict, ended)
            pilots.follow(stages, self._leases, self._halted)
            done = True
        finally:
            # What was sent goes on without us, unless the user wants it to stop.
            cluster.close(cancel=done or self._interrupt.requested)
        if self._interrupt.requested:
            raise Stopped

    def _is_light(self, stages: Mapping[str, Stage]) -> bool:
        """Whether so little is to be read that starting processes would be most of the work."""
        if any(stage.kind not in _READING for stage in stages.values()):
            return False
        plan, images = self._plan, 0
        for stage in stages.values():
            if stage.kind is Kind.COPY:
                pending = pending_of_copy(plan, self._store, stage.of_fit, stage.of_user)
                if any(model is not None for model in pending):
                    return False
                images += plan.images(None) * len(pending.get(None, ()))
        return images <= _LIGHT

    def _halted(self) -> bool:
        """Whether nothing more is to be started."""
        hours = self._settings.most_hours
        if hours and time.monotonic() - self._started > 3600 * hours:
            self._interrupt.requested = True
        return self._interrupt.requested or (self._settings.fail_fast and bool(self._failed))

    def _run(self, worker: Worker | Runner, stage: Stage, groups: Groups) -> bool:
        """Run a stage; whether what stands behind it may run."""
        started = time.monotonic()
        groups.started(stage)

        def progress(done: int, total: int, text: str) -> None:
            groups.progress(stage, done, total, text)

        worker.on_progress = progress
        problems = Careful(worker, self._deadly).run(stage)
        for problem in problems:
            self._fail(problem)
        own = next((p for p in problems if p.key == stage.key), None)
        self._end(stage, groups, time.monotonic() - started, own)
        return own is None

    def _worker(self, slot: int) -> Worker | Runner:
        if self._settings.here:
            return Runner(self._plan, self._request, self._store, interrupt=self._interrupt)
        hours = self._settings.stage_hours
        return Worker(self._request, slot, 3600 * hours if hours else None)

    def _executor(self, slots: int) -> Executor[Any]:
        cls = self._catalogue.component("executors", "local")
        executor = cls(cls.Params.model_validate({"slots": slots}))
        assert isinstance(executor, Executor)
        return executor

    # -- bookkeeping -------------------------------------------------------------------------

    def _end(self, stage: Stage, groups: Groups, seconds: float, problem: Problem | None) -> None:
        outcome = problem.outcome if problem is not None else Outcome.DONE
        note = problem.reason if problem is not None else ""
        self._summary.executed += 1
        known = self._summary.seconds.get(stage.group, 0.0)
        self._summary.seconds[stage.group] = known + seconds
        groups.finished(stage, outcome, note)
        self._catalogue.stage_finished(stage.kind, stage.label, str(outcome), seconds)
        self._folder.mkdir(parents=True, exist_ok=True)
        about = {"stage": stage.key, "kind": str(stage.kind), "label": stage.label}
        line = {**about, "outcome": str(outcome), "seconds": round(seconds, 3)}
        with (self._folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": round(time.time(), 3), **line}) + "\n")

    def _fail(self, problem: Problem) -> None:
        self._failed.setdefault(problem.key, problem)
        if problem.trace:
            write_log(self._folder, problem)

    def _repair(self) -> None:
        for damage in self._store.verify():
            self._store.drop(damage.key)
            self._reporter.finished(f"drop {damage.path}", Outcome.DONE, 0.0, "")

    def _accept_source(self) -> None:
        differ = accept_source(self._request, self._plan, self._store, self._folder)
        for module in sorted(differ):
            self._reporter.finished(f"accept the source of {module}", Outcome.DONE, 0.0, "")

    # -- results -----------------------------------------------------------------------------

    def _outcomes(self) -> dict[str, tuple[Outcome, str]]:
        outcomes: dict[str, tuple[Outcome, str]] = {}
        counts = self._summary.cells
        for cell in self._plan.cells:
            outcome = self._outcome(cell)
            kind = outcome[0] if outcome is not None else Outcome.DONE
            counts[kind] = counts.get(kind, 0) + 1
            if outcome is not None:
                outcomes[cell.key] = outcome
                if kind is not Outcome.REFUSED:
                    self._summary.problems.append((cell_label(cell), *outcome))
        for item in self._plan.suite.unavailable:
            self._summary.problems.append((item.label, Outcome.UNAVAILABLE, item.reason))
        return outcomes

    def _outcome(self, cell: Cell) -> tuple[Outcome, str] | None:
        if cell.refusal is not None:
            return Outcome.REFUSED, cell.refusal.reason
        if cell.fault:
            return Outcome.FAILED, cell.fault
        own = self._failed.get(cell.key)
        if own is not None:
            return own.outcome, own.reason
        if self._store.has(cell.key):
            try:
                self._store.meta(cell.key)
            except StoreError as error:
                return Outcome.FAILED, str(error)
            return None
        for key, problem in self._failed.items():
            stage = self._graph.stages.get(key)
            if stage is not None and (stage.fit is None or stage.fit.key == cell.fit.key):
                if problem.outcome in OF_ITS_OWN:
                    return problem.outcome, problem.reason
                return Outcome.BLOCKED, f"blocked by “{stage.label}”: {problem.reason}"
        return Outcome.BLOCKED, "not run yet; run the same command again to go on"

    def _keep_request(self) -> None:
        """Keep what makes the run: for who looks on, runs or scores it again, or publishes it."""
        with alone_in(self._folder, self._store.root):
            self._write_request()

    def _write_request(self) -> None:
        write_request(self._folder, self._request, self._plan, self._suite_text)
        keep_sources(self._plan, self._folder)


def _check_writable(place: Path) -> None:
    """Find out before the work that its results can be kept."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise MissingResource(
            f"run: expected a folder that can be written at {place}, got {error}; free it or "
            "choose another with --runs, --store or --name"
        ) from None


@contextmanager
def alone_in(folder: Path, store: Path) -> Iterator[None]:
    """A block in which nobody else who uses the store writes into the folder of a run."""
    leases = Leases(store)
    try:
        with leases.alone(digest(str(folder.resolve())), f"the folder {folder.name}"):
            yield
    finally:
        leases.close()


class Groups:
    """Stages that people are told of together: the copies of one training, and the like."""

    def __init__(self, stages: Iterable[Stage], reporter: Reporter) -> None:
        self._reporter = reporter
        self._all: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._began: dict[str, float] = {}
        self._worst: dict[str, tuple[Outcome, str]] = {}
        self._lock = threading.Lock()
        for stage in stages:
            self._all[stage.group] = self._all.get(stage.group, 0) + 1

    def started(self, stage: Stage) -> None:
        """A stage begins."""
        with self._lock:
            if stage.group not in self._began:
                self._began[stage.group] = time.monotonic()
                self._reporter.started(stage.group)

    def progress(self, stage: Stage, done: int, total: int, text: str) -> None:
        """A running stage moves on."""
        with self._lock:
            if self._all[stage.group] == 1:
                self._reporter.progress(stage.group, done, total, text)

    def finished(self, stage: Stage, outcome: Outcome, note: str) -> None:
        """A stage ended."""
        group = stage.group
        with self._lock:
            self._ended[group] = self._ended.get(group, 0) + 1
            self._reporter.ended()
            if outcome is not Outcome.DONE:
                self._worst.setdefault(group, (outcome, note))
            if self._ended[group] < self._all[group]:
                self._reporter.progress(group, self._ended[group], self._all[group], stage.label)
                return
            outcome, note = self._worst.get(group, (Outcome.DONE, ""))
            self._reporter.finished(group, outcome, time.monotonic() - self._began[group], note)

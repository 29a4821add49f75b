"""Runs a plan into a store: what is pending, in order, each failure kept to its own cells.

This module imports no torch: a run that finds everything in the store never loads it.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from fpbench.api import Executor, NoSpace, Outcome, StoreError
from fpbench.execute.interrupt import Interrupt, graceful
from fpbench.execute.jobs import JobRunner, Problem, fit_label, problem_of, thread_count, write_log
from fpbench.execute.measure import Measurer, all_records
from fpbench.execute.process import Visit
from fpbench.execute.request import Request
from fpbench.execute.resources import environment
from fpbench.execute.samples import write_samples
from fpbench.execute.worker import Worker
from fpbench.plan import Cell, Fit, Plan
from fpbench.registry import Catalogue
from fpbench.spec import suite_text
from fpbench.store import RecordLog, Store
from fpbench.store.objects import write_text

_LIGHT = 50_000
"""Images to attack and read up to which one process does it: a second takes seconds to start."""


class Reporter(Protocol):
    """Told what happens; the command line shows it."""

    def started(self, label: str) -> None:
        """A stage begins."""
        ...

    def progress(self, label: str, done: int, total: int, text: str) -> None:
        """A running stage moves on."""
        ...

    def finished(self, label: str, outcome: Outcome, seconds: float, note: str) -> None:
        """A stage ended."""
        ...


@dataclass(frozen=True)
class Settings:
    """How to run, none of which changes what a number means.

    Attributes:
        command: how to repeat the run, for the records.
        repair: drop damaged artefacts and make them again.
    """

    command: str = ""
    repair: bool = False


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
    """

    executed: int = 0
    cells: dict[Outcome, int] = field(default_factory=dict)
    problems: list[tuple[str, Outcome, str]] = field(default_factory=list)
    interrupted: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

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
        self._suite_text = suite_text(request.suite)
        self._request = request.knowing(plan.backbones, plan.facts)
        self._store = Store(Path(request.store))
        self._folder = folder
        self._catalogue = catalogue
        self._reporter = reporter
        self._settings = settings
        self._interrupt = Interrupt()
        self._failed: dict[str, Problem] = {}
        self._summary = Summary()

    def execute(self) -> Summary:
        """Run everything pending, then write records and samples.

        Raises:
            NoSpace: the disk is full; what was committed stays.
        """
        if self._settings.repair:
            self._repair()
        with graceful(self._interrupt):
            try:
                self._stages()
            except KeyboardInterrupt:
                self._summary.interrupted = True
                return self._summary
        self._summary.unavailable = {b.name: b.reason for b in self._plan.backbones if b.reason}
        self._write(self._outcomes())
        return self._summary

    # -- stages ------------------------------------------------------------------------------

    def _stages(self) -> None:
        wanted = [c for c in self._plan.cells if c.refusal is None and not self._store.has(c.key)]
        if not wanted:
            return
        self._try_backbones()
        # A network that does not work gives the cells other keys.
        wanted = [c for c in self._plan.cells if c.refusal is None and not self._store.has(c.key)]
        fits = list(dict.fromkeys(cell.fit for cell in wanted))
        measurer = Measurer(self._plan, self._store)
        unread = [f for f in fits if any(c.fit is f and self._lacks(c, measurer) for c in wanted)]
        if unread:
            jobs = self._jobs(unread)
            self._run_jobs(jobs, alone=self._is_light(jobs, wanted))
        for fit in fits:
            self._measure(fit, [cell for cell in wanted if cell.fit is fit])

    def _try_backbones(self) -> None:
        """Load every published network once; what fails is as unavailable as what is missing."""
        jobs: dict[str, list[str]] = {
            f"backbone:{backbone.name}": []
            for backbone in self._plan.ready
            if not self._store.has(self._plan.backbone_key(backbone))
        }
        if not jobs:
            return
        self._run_jobs(jobs)
        reasons = {
            job.partition(":")[2]: self._failed.pop(job).reason
            for job in jobs.keys() & self._failed
        }
        if reasons:
            tried = (
                replace(b, path=None, digest="", reason=reasons[b.name]) if b.name in reasons else b
                for b in self._plan.backbones
            )
            self._request = self._request.knowing(tried, self._plan.facts)
            self._plan, _ = self._request.plan()

    def _jobs(self, fits: list[Fit]) -> dict[str, list[str]]:
        """Job -> the jobs it waits for."""
        plan, store = self._plan, self._store
        jobs: dict[str, list[str]] = {}
        if not store.has(plan.host_key) and not store.has(plan.host_training):
            jobs["host"] = []
        trained = [job for job in ("host",) if job in jobs]
        if not store.has(plan.host_key) and plan.host_key != plan.host_training:
            jobs["choose-host"] = trained
        host = [job for job in ("choose-host",) if job in jobs] or trained
        if not store.has(plan.reference_key):
            jobs["reference"] = []
        if not all(store.has(plan.host_features_key(b)) for b in plan.ready if b.features):
            jobs["host-features"] = host
        # Trainings are the longest jobs: they come first, and readings fill the slots behind them.
        jobs |= {
            f"fit:{fit.index}": _waits_for(fit, host, trained)
            for fit in fits
            if not store.has(fit.key) and not store.has(fit.training)
        }
        jobs |= {
            f"choose:{fit.index}": host + [j for j in (f"fit:{fit.index}",) if j in jobs]
            for fit in fits
            if not store.has(fit.key) and fit.key != fit.training
        }
        parts = min(self._request.jobs, plan.suite.population.copies)
        for fit in fits:
            own = (f"choose:{fit.index}", f"fit:{fit.index}")
            before = [*(job for job in own if job in jobs)][:1] + host
            tuned = [plan.tuning_key(fit, m) for m in plan.tuned_attacks(fit).values()]
            if not all(map(store.has, tuned)):
                # Real images tell how much a candidate damages; networks are tried before all jobs.
                jobs[f"tune:{fit.index}"] = before + [j for j in ("reference",) if j in jobs]
                before = [f"tune:{fit.index}"]
            # Copies are dealt out in turn: the first few bear the attacks that train.
            for part in range(parts):
                jobs[f"copies:{fit.index}:{part}/{parts}"] = before
            jobs[f"negatives:{fit.index}"] = before
            if plan.suite.secrecy.steps and not store.has(plan.secrecy_key(fit)):
                jobs[f"secrecy:{fit.index}"] = before
        return jobs

    def _is_light(self, jobs: Mapping[str, list[str]], cells: list[Cell]) -> bool:
        """Whether so little is to be read that starting processes would be most of the work."""
        if any(job.partition(":")[0] not in ("copies", "negatives") for job in jobs):
            return False
        plan = self._plan
        fits = {cell.fit.index for cell in cells}
        images = plan.suite.population.copies * plan.images(None)
        images += sum(plan.negatives(source, None) for source in ("real", "host"))
        images *= len({cell.point.image for cell in cells}) * len(fits)
        return all(cell.point.model is None for cell in cells) and images <= _LIGHT

    def _run_jobs(self, jobs: Mapping[str, list[str]], *, alone: bool = False) -> None:
        """Run jobs as they become ready; `alone`, one after the other in this process."""
        executor = self._executor(1 if alone else self._request.jobs)
        workers: queue.Queue[Worker | JobRunner] = queue.Queue()
        for slot in range(executor.capacity()):
            workers.put(self._here() if alone else self._worker(slot))

        def run(job: str) -> None:
            worker = workers.get()
            try:
                self._run_job(worker, job)
            finally:
                workers.put(worker)

        try:
            self._schedule(executor, run, jobs)
        finally:
            executor.close(cancel=True)
            while not workers.empty():
                worker = workers.get()
                if isinstance(worker, Worker):
                    worker.close()

    def _schedule(
        self,
        executor: Executor[Any],
        run: Callable[[str], None],
        jobs: Mapping[str, list[str]],
    ) -> None:
        """Submit each job once those it waits for are done; skip it if one of them failed."""
        waiting = dict(jobs)
        running: dict[Future[None], str] = {}
        good: set[str] = set()
        bad: set[str] = set()
        while True:
            for job in [j for j, before in waiting.items() if bad & set(before)]:
                bad.add(job)
                del waiting[job]
            ready = [j for j, before in waiting.items() if good >= set(before)]
            for job in ready[: executor.capacity() - len(running)]:
                del waiting[job]
                running[executor.submit(run, job)] = job
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                job = running.pop(future)
                future.result()
                (bad if job in self._failed else good).add(job)

    def _run_job(self, worker: Worker | JobRunner, job: str) -> None:
        label = self._label(job)
        started = self._begin(label)

        def progress(done: int, total: int, text: str) -> None:
            if self._interrupt.requested and isinstance(worker, Worker):
                worker.interrupt()
            self._reporter.progress(label, done, total, text)

        if isinstance(worker, Worker):
            problems = worker.run(job, progress)
        else:
            worker.on_progress = progress
            problems = worker.run(job)
        for problem in problems:
            self._fail(problem)
        own = next((p for p in problems if p.key == job), None)
        self._end(label, started, own)

    def _worker(self, slot: int) -> Worker | JobRunner:
        return self._here() if self._request.jobs == 1 else Worker(self._request, slot)

    def _here(self) -> JobRunner:
        return JobRunner(self._plan, self._request, self._store, interrupt=self._interrupt)

    def _executor(self, slots: int) -> Executor[Any]:
        cls = self._catalogue.component("executors", "local")
        executor = cls(cls.Params.model_validate({"slots": slots}))
        assert isinstance(executor, Executor)
        return executor

    def _measure(self, fit: Fit, cells: list[Cell]) -> None:
        measurer = Measurer(self._plan, self._store)
        ready = [c for c in cells if c.key not in self._failed and not self._lacks(c, measurer)]
        if not ready:
            return
        device = self._store.meta(fit.key)["device"]
        about = environment(device, thread_count(self._request))
        label = f"measure {fit_label(fit)}"
        started = self._begin(label)
        for number, cell in enumerate(ready, start=1):
            name = cell_label(cell)
            try:
                with Visit():
                    measurer.measure(cell, about)
            except NoSpace:
                raise
            except Exception as error:  # noqa: BLE001 - one cell's fault must not stop others
                self._fail(problem_of(cell.key, name, error))
            self._reporter.progress(label, number, len(ready), cell.point.label)
            if self._interrupt.requested:
                raise KeyboardInterrupt
        self._end(label, started, None)

    def _lacks(self, cell: Cell, measurer: Measurer) -> bool:
        try:
            return bool(measurer.missing(cell))
        except StoreError as error:
            self._fail(problem_of(cell.key, cell_label(cell), error))
            return True

    # -- bookkeeping -------------------------------------------------------------------------

    def _begin(self, label: str) -> float:
        self._reporter.started(label)
        return time.monotonic()

    def _end(self, label: str, started: float, problem: Problem | None) -> None:
        seconds = time.monotonic() - started
        outcome = problem.outcome if problem is not None else Outcome.DONE
        note = problem.reason if problem is not None else ""
        self._summary.executed += 1
        self._summary.seconds[label] = seconds
        self._reporter.finished(label, outcome, seconds, note)
        self._catalogue.stage_finished(label.split()[0], label, str(outcome), seconds)
        self._folder.mkdir(parents=True, exist_ok=True)
        line = {"label": label, "outcome": str(outcome), "seconds": round(seconds, 3)}
        with (self._folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": round(time.time(), 3), **line}) + "\n")

    def _fail(self, problem: Problem) -> None:
        self._failed.setdefault(problem.key, problem)
        if problem.trace:
            write_log(self._folder, problem)

    def _label(self, job: str) -> str:
        kind, _, rest = job.partition(":")
        host = self._plan.suite.host.name
        alone = {
            "host": f"train host {host}",
            "choose-host": f"choose among snapshots of host {host}",
            "reference": "read reference images",
            "backbone": f"load backbone {rest}",
            "host-features": "read host images with the backbones",
        }
        if kind in alone:
            return alone[kind]
        index, _, share = rest.partition(":")
        name = fit_label(self._plan.fits[int(index)])
        if kind == "fit":
            return f"train {name}"
        if kind == "choose":
            return f"choose among snapshots of {name}"
        if kind == "tune":
            return f"tune attacks on {name}"
        if kind == "secrecy":
            return f"look for the fingerprint of {name}"
        if kind == "negatives":
            return f"read {name}: negatives"
        part, _, parts = share.partition("/")
        which = "copies" if parts == "1" else f"copies, part {int(part) + 1} of {parts}"
        return f"read {name}: {which}"

    def _repair(self) -> None:
        for damage in self._store.verify():
            self._store.drop(damage.key)
            self._reporter.finished(f"drop {damage.path}", Outcome.DONE, 0.0, "")

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
        own = self._failed.get(cell.key)
        if own is not None:
            return own.outcome, own.reason
        if self._store.has(cell.key):
            try:
                self._store.meta(cell.key)
            except StoreError as error:
                return Outcome.FAILED, str(error)
            return None
        for job, problem in self._failed.items():
            kind, _, rest = job.partition(":")
            everyone = kind in ("host", "choose-host", "reference", "host-features")
            if everyone or rest.partition(":")[0] == str(cell.fit.index):
                if problem.outcome in (Outcome.UNAVAILABLE, Outcome.OUT_OF_MEMORY):
                    return problem.outcome, problem.reason
                return Outcome.BLOCKED, f"blocked by “{self._label(job)}”: {problem.reason}"
        return Outcome.BLOCKED, "not run yet; run the same command again to go on"

    def _write(self, outcomes: Mapping[str, tuple[Outcome, str]]) -> None:
        text = json.dumps(self._plan.suite.resolved(), indent=2, sort_keys=True) + "\n"
        target = self._folder / "suite.json"
        if not target.is_file() or target.read_text(encoding="utf-8") != text:
            write_text(target, text)
        # What made the run, for whoever scores it again or publishes it.
        write_text(self._folder / "suite.toml", self._suite_text)
        write_text(self._folder / "request.json", self._request.portable().to_json() + "\n")
        measurer = Measurer(self._plan, self._store)
        write_samples(self._plan, measurer, self._folder / "samples")
        log = RecordLog(self._folder / "records.jsonl")
        log.update(all_records(self._plan, self._store, outcomes, self._settings.command))


def _waits_for(fit: Fit, host: list[str], trained: list[str]) -> list[str]:
    """What a training waits for: the host that is used, the one that was trained, or nothing."""
    if not fit.method.component.uses_host:
        return []
    return host if fit.method.component.builds_on_host else trained


def cell_label(cell: Cell) -> str:
    """A cell as people write it."""
    return f"{fit_label(cell.fit)} under {cell.point.label}"

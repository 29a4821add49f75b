"""How a run stands: read from its store and folder alone, while it goes on and afterwards."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import Any

from fpbench.api import Outcome
from fpbench.execute.estimate import Estimate, Past, duration, estimate
from fpbench.execute.journal import Event, read_events, read_logs
from fpbench.execute.run import OF_ITS_OWN
from fpbench.execute.runs import OpenRun
from fpbench.execute.schedule import pending_stages
from fpbench.plan import Cell, Kind, Stage
from fpbench.plan.pending import share_pending
from fpbench.plan.stages import cell_label, fit_label
from fpbench.registry.catalogue import LEFT_OUT
from fpbench.store import Leases, RecordLog
from fpbench.store.leases import Holder

PENDING = "pending"
_TAIL = 3
_OUTCOMES = (
    Outcome.DONE,
    Outcome.REFUSED,
    Outcome.FAILED,
    Outcome.TIMED_OUT,
    Outcome.OUT_OF_MEMORY,
    Outcome.UNAVAILABLE,
    Outcome.BLOCKED,
    PENDING,
)


@dataclass(frozen=True)
class Running:
    """A stage that somebody works on.

    Attributes:
        label: what it is.
        kind: of stage.
        key: of the stage.
        host: name of the machine.
        pid: of the process.
        since: Unix time of its start, by that machine's clock.
        left_s: seconds that it takes yet if it takes as long as others of its kind; None = unknown.
    """

    label: str
    kind: str
    key: str
    host: str
    pid: int
    since: float
    left_s: float | None


@dataclass(frozen=True)
class Left:
    """Stages of a kind that are neither done nor running.

    Attributes:
        kind: of stage.
        stages: how many.
        behind: how many of them failed, or stand behind a failure.
        each_s: mean seconds of those that are done; None = none is.
    """

    kind: str
    stages: int
    behind: int
    each_s: float | None


@dataclass(frozen=True)
class Failure:
    """A stage or cell that failed.

    Attributes:
        label: what it is.
        outcome: how it failed.
        reason: one line.
        log: path of its log; empty where there is none.
        tail: the log's last lines.
    """

    label: str
    outcome: str
    reason: str
    log: str
    tail: tuple[str, ...]


@dataclass(frozen=True)
class Standing:
    """How a run stands.

    Attributes:
        suite: name and version.
        cells: training -> outcome -> number of cells.
        running: stages that are worked on now.
        elsewhere: number of stages of other runs that the store is used for now.
        left: what is to be done yet, by kind.
        estimate: of what is to be done and can be, what is running among it.
        failures: what failed, and was not made since.
    """

    suite: str
    cells: dict[str, dict[str, int]]
    running: tuple[Running, ...] = ()
    elsewhere: int = 0
    left: tuple[Left, ...] = ()
    estimate: Estimate = field(default_factory=lambda: Estimate(0.0, 0.0, 1, 0))
    failures: tuple[Failure, ...] = ()

    @property
    def totals(self) -> dict[str, int]:
        """Outcome -> number of cells, of all trainings."""
        return {
            name: sum(row.get(name, 0) for row in self.cells.values())
            for name in map(str, _OUTCOMES)
        }

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "totals": self.totals}

    def lines(self, run: str, plugins: Sequence[str] = ()) -> list[str]:
        """As text; `run` is what the user calls it, with the plugins that he names."""
        words = (
            ("-P", name.removeprefix(LEFT_OUT)) if name.startswith(LEFT_OUT) else ("-p", name)
            for name in plugins
        )
        program = shlex.join(["fpbench", *(word for pair in words for word in pair)])
        return [
            *self._matrix(),
            *self._now(),
            *self._open(),
            *self._failed(),
            self._next(run, program),
        ]

    def _matrix(self) -> list[str]:
        shown = [name for name, number in self.totals.items() if number]
        width = max(map(len, [*self.cells, "all"]))
        rows = {**self.cells, "all": self.totals}
        return [
            f"suite {self.suite}",
            f"  {'cells':<{width}}" + "".join(f"{name:>{len(name) + 2}}" for name in shown),
            *(
                f"  {label:<{width}}"
                + "".join(f"{row.get(name, 0):>{len(name) + 2}}" for name in shown)
                for label, row in rows.items()
            ),
        ]

    def _now(self) -> list[str]:
        lines = [f"running now: {len(self.running) or 'nothing'}"]
        for each in self.running:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.since))
            left = "" if each.left_s is None else f", about {duration(each.left_s)} left"
            lines.append(f"  {each.label}  ({each.host}, process {each.pid}, since {since}{left})")
        if self.elsewhere:
            lines.append(f"  and {self.elsewhere} of other runs in this store")
        return lines

    def _open(self) -> list[str]:
        if not self.left:
            return []
        lines = ["stages to be done:"]
        for each in self.left:
            known = "" if each.each_s is None else f", {duration(each.each_s)} each"
            lost = f", {each.behind} failed or behind a failure" if each.behind else ""
            lines.append(f"  {each.kind:<14}{each.stages:>5}{known}{lost}")
        about = self.estimate.line()
        return [*lines, f"  {about}"] if about else lines

    def _failed(self) -> list[str]:
        lines = []
        for each in self.failures:
            lines.append(f"{each.outcome}: {each.label}: {each.reason}")
            lines += [f"    {line}" for line in each.tail]
            if each.log:
                lines.append(f"    log: {each.log}")
        return lines

    def _next(self, run: str, program: str) -> str:
        if self.running:
            return f"Next: wait; `{program} status {run}` may be asked at any time"
        if self.left or self.failures:
            return f"Next: `{program} retry {run}` does what failed or is pending"
        return "Next: nothing is pending"


def standing_of(run: OpenRun, now: float | None = None) -> Standing:
    """Look a run up in its store, its events, records and logs.

    Args:
        run: the run.
        now: Unix time; None = by the clock.
    """
    return _Look(run, time.time() if now is None else now).standing()


def _unsaid(outcome: str) -> str:
    late = outcome == Outcome.TIMED_OUT
    return "it took longer than a stage may, and left no log" if late else "it left no log"


class _Look:
    def __init__(self, run: OpenRun, now: float) -> None:
        self._run = run
        self._now = now
        events = read_events(run.folder)
        self._past = Past(events)
        self._pending = pending_stages(run.graph, run.plan, run.store)
        holders = Leases(run.store.root).all()
        self._holders = {k: h for k, h in holders.items() if k in run.graph.stages}
        self._elsewhere = len(holders) - len(self._holders)
        self._bad = self._broken(events)

    def standing(self) -> Standing:
        header = self._run.plan.suite.header
        return Standing(
            f"{header.name} version {header.version}",
            self._cells(),
            tuple(self._running(key, holder) for key, holder in self._holders.items()),
            self._elsewhere,
            tuple(self._left()),
            self._estimate(),
            tuple(self._failures()),
        )

    def _broken(self, events: Iterable[Event]) -> dict[str, Event]:
        """Stages whose last attempt failed, and which nobody has made or works on since."""
        last = {event.stage: event for event in events}
        return {
            key: event
            for key, event in last.items()
            if event.outcome is not Outcome.DONE
            and key in self._pending
            and key not in self._holders
            and self._pending[key].kind is not Kind.BACKBONE  # no cell waits for one
        }

    # -- cells -------------------------------------------------------------------------------

    def _cells(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for cell in self._run.plan.cells:
            row, outcome = found.setdefault(fit_label(cell.fit), {}), self._outcome(cell)
            row[outcome] = row.get(outcome, 0) + 1
        return found

    def _outcome(self, cell: Cell) -> str:
        if cell.refusal is not None:
            return str(Outcome.REFUSED)
        if cell.fault:
            return str(Outcome.FAILED)
        if self._run.store.has(cell.key):
            return str(Outcome.DONE)
        if cell.key in self._told:
            return str(self._told[cell.key]["outcome"])
        for key, event in self._bad.items():
            fit = self._pending[key].fit
            if fit is None or fit.key == cell.fit.key:
                return str(event.outcome if event.outcome in OF_ITS_OWN else Outcome.BLOCKED)
        return PENDING

    @cached_property
    def _told(self) -> Mapping[str, Any]:
        """Cell key -> its record, of the cells that failed themselves when the run last ended."""
        fits = [self._run.graph.stages[key].fit for key in self._holders]
        busy = {fit.index for fit in fits if fit is not None}
        open_cells = {
            cell.key
            for cell in self._run.plan.cells
            if cell.open and cell.fit.index not in busy and not self._run.store.has(cell.key)
        }
        if None in fits or not open_cells:
            return {}
        records = RecordLog(self._run.folder / "records.jsonl").read().values()
        own = (Outcome.FAILED, *OF_ITS_OWN)
        return {
            record["cell"]: record
            for record in records
            if record["metric"] == "" and record["cell"] in open_cells and record["outcome"] in own
        }

    # -- stages ------------------------------------------------------------------------------

    def _running(self, key: str, holder: Holder) -> Running:
        stage = self._run.graph.stages[key]
        whole, left = self._past.seconds(stage), None
        if whole is not None:
            # By clocks of two machines: at most what it takes in all.
            left = min(whole, max(0.0, whole - (self._now - holder.since)))
        where = (holder.host, holder.pid, holder.since)
        return Running(stage.label, str(stage.kind), key, *where, left)

    def _left(self) -> Iterable[Left]:
        lost = self._behind()
        kinds: dict[str, list[bool]] = {}
        for key, stage in self._pending.items():
            if key not in self._holders:
                kinds.setdefault(str(stage.kind), []).append(key in lost)
        for kind, behind in kinds.items():
            yield Left(kind, len(behind), sum(behind), self._past.of_kind(kind))

    def _estimate(self) -> Estimate:
        lost, run = self._behind(), self._run
        stages = {key: stage for key, stage in self._pending.items() if key not in lost}
        spent = {key: self._now - holder.since for key, holder in self._holders.items()}
        share = partial(share_pending, plan=run.plan, store=run.store)
        return estimate(stages, self._past, run.request.jobs, share, spent)

    def _behind(self) -> set[str]:
        """Stages that failed, or cannot be run without one that did."""
        lost = set(self._bad)
        for key, stage in self._pending.items():  # each stands behind its inputs
            if lost & set(stage.inputs) and not self._measures(stage, lost):
                lost.add(key)
        return lost

    def _measures(self, stage: Stage, lost: set[str]) -> bool:
        """Whether a stage measures something although some of its inputs are lost."""
        waited = set(stage.inputs) & self._pending.keys()
        return stage.kind is Kind.MEASURING and not waited <= lost

    # -- failures ----------------------------------------------------------------------------

    def _explained(self, cell: Cell) -> bool:
        """Whether a cell ended as it did because a stage that is listed did."""
        stages = ((self._pending[key].fit, event) for key, event in self._bad.items())
        return self._told[cell.key]["outcome"] in OF_ITS_OWN and any(
            event.outcome == self._told[cell.key]["outcome"]
            for fit, event in stages
            if fit is None or fit.index == cell.fit.index
        )

    def _failures(self) -> Iterable[Failure]:
        logs = {log.label: log for log in read_logs(self._run.folder)}
        failed = [(event.label, str(event.outcome), "") for event in self._bad.values()]
        failed += [
            (cell_label(cell), str(self._told[cell.key]["outcome"]), self._told[cell.key]["reason"])
            for cell in self._run.plan.cells
            if cell.key in self._told and not self._explained(cell)
        ]
        failed += [(cell_label(c), "failed", c.fault) for c in self._run.plan.cells if c.fault]
        for label, outcome, reason in failed:
            log = logs.get(label)
            yield Failure(
                label,
                outcome,
                reason or (log.reason if log is not None else _unsaid(outcome)),
                str(log.path) if log is not None else "",
                tuple(log.tail(_TAIL)) if log is not None else (),
            )

"""Shows a run: a live table with estimates on a terminal, one line per state change elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Table
from rich.table import Column
from rich.text import Text

from fpbench.api import Outcome

_HEARTBEAT_S = 60.0
_LOOK_S = 5.0


def progress(*, quiet: bool = False) -> Lines:
    """The `fpbench.execute.run.Reporter` for where standard error goes.

    Args:
        quiet: print nothing but failures.
    """
    return Live() if sys.stderr.isatty() and not quiet else Lines(quiet=quiet)


def looking(
    what: str = "data set: {} samples looked at",
) -> Callable[[int, int], None]:
    """Says how far something is that is done to many: nothing of a short one, then now and then.

    Args:
        what: is done, with {} for "10 of 20".
    """
    began = shown = time.monotonic()

    def say(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown < _LOOK_S or done == total:
            return
        shown = now
        left = (now - began) / done * (total - done)
        click.echo(
            f"{what.format(f'{done:,} of {total:,}')}, about {left:,.0f} s left",
            err=True,
        )

    return say


class Lines:
    """Prints a line where a stage begins or ends, and one a minute of what takes long.

    Args:
        quiet: print nothing but failures.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._phase: dict[str, tuple[float, int]] = {}
        self._shown = 0.0

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def planned(self, stages: int, about: str) -> None:
        """So many stages are to be done, and how long that takes."""
        if not self._quiet:
            self._say(f"{stages} stages to be done{about and f': {about}'}")

    def started(self, label: str) -> None:
        """A stage begins."""
        self._shown = time.monotonic()
        self._phase[label] = (self._shown, 0)
        if not self._quiet:
            self._say(f"{label} …")

    def progress(self, label: str, done: int, total: int, text: str) -> None:
        """A running stage moves on."""
        now = time.monotonic()
        began, first = self._phase[label]
        if first == 0 or done < first:  # a resumed or a further phase counts from where it begins
            self._phase[label] = began, first = now, done
        if self._quiet or now - self._shown < _HEARTBEAT_S:
            return
        self._shown = now
        left = (now - began) / max(done - first, 1) * (total - done)
        self._say(f"  {label}  {done}/{total}  about {left:.0f} s left  {text}")

    def ended(self) -> None:
        """One of the stages that were planned ended."""

    def waiting(self, label: str, whom: str) -> None:
        """Nothing is to be done until a stage ends that somebody else is at."""
        if not self._quiet:
            self._say(f"{label} — waits for {whom}")

    def finished(self, label: str, outcome: Outcome, seconds: float, note: str) -> None:
        """A stage ended."""
        good = outcome is Outcome.DONE
        if self._quiet and good:
            return
        self._say(f"{label} — {'done' if good else outcome} in {seconds:.1f} s")
        if not good:
            self._say(f"  {note}")

    def _say(self, line: str) -> None:
        click.echo(line, err=True)


class Live(Lines):
    """A table of what is running, redrawn in place; what has ended stands above it."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self._table = Table(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            # Gives way where the terminal is narrow.
            TextColumn(
                "{task.fields[text]}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=console or Console(stderr=True),
            expand=True,
            transient=True,
            refresh_per_second=4,
        )
        self._rows: dict[str, TaskID] = {}
        self._all: TaskID | None = None

    def __enter__(self) -> Live:
        self._table.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._table.stop()

    def planned(self, stages: int, about: str) -> None:
        """See `Lines.planned`."""
        super().planned(stages, about)
        if self._all is not None:
            self._table.remove_task(self._all)
        self._all = self._table.add_task("all stages", total=stages, text="")

    def started(self, label: str) -> None:
        """See `Lines.started`."""
        self._rows[label] = self._table.add_task(label, total=None, text="")

    def progress(self, label: str, done: int, total: int, text: str) -> None:
        """See `Lines.progress`."""
        row = self._rows[label]
        task = next(task for task in self._table.tasks if task.id == row)
        if task.total is None or done < task.completed:
            # A resumed or a further phase is timed from where it begins.
            self._table.reset(row, completed=done, total=total, text=text)
        else:
            self._table.update(row, completed=done, total=total, text=text)

    def ended(self) -> None:
        """See `Lines.ended`."""
        if self._all is not None:
            self._table.advance(self._all)

    def finished(self, label: str, outcome: Outcome, seconds: float, note: str) -> None:
        """See `Lines.finished`."""
        row = self._rows.pop(label, None)
        if row is not None:
            self._table.remove_task(row)
        super().finished(label, outcome, seconds, note)

    def _say(self, line: str) -> None:
        self._table.console.print(line, markup=False, highlight=False)


class _Rate(ProgressColumn):
    """How many a second, or how long one takes."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.3g}/s" if speed >= 1 else f"{1 / speed:.3g} s each")

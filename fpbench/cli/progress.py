"""Shows a run: a live line with an estimate on a terminal, one line per state change elsewhere."""

from __future__ import annotations

import sys
import time

import click

from fpbench.api import Outcome

_EVERY_S = 0.25
_HEARTBEAT_S = 60.0


class Progress:
    """A `fpbench.execute.run.Reporter` that prints to standard error.

    Args:
        quiet: print nothing but failures.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._phase: dict[str, tuple[float, int]] = {}
        self._shown = 0.0

    def started(self, label: str) -> None:
        """A stage begins."""
        self._shown = time.monotonic()
        self._phase[label] = (self._shown, 0)
        if not self._quiet and not self._live:
            click.echo(f"{label} …", err=True)

    def progress(self, label: str, done: int, total: int, text: str) -> None:
        """A running stage moves on."""
        now = time.monotonic()
        began, first = self._phase[label]
        if first == 0 or done < first:  # a resumed or a further phase counts from where it begins
            self._phase[label] = began, first = now, done
        if self._quiet or now - self._shown < (_EVERY_S if self._live else _HEARTBEAT_S):
            return
        self._shown = now
        left = (now - began) / max(done - first, 1) * (total - done)
        line = f"{label}  {done}/{total}  about {left:.0f} s left  {text}"
        if self._live:
            click.echo(f"\r\033[K{line[:110]}", nl=False, err=True)
        else:
            click.echo(f"  {line}", err=True)

    def waiting(self, label: str, whom: str) -> None:
        """Nothing is to be done until a stage ends that somebody else is at."""
        if not self._quiet:
            start = "\r\033[K" if self._live else ""
            click.echo(f"{start}{label} — waits for {whom}", err=True)

    def finished(self, label: str, outcome: Outcome, seconds: float, note: str) -> None:
        """A stage ended."""
        good = outcome is Outcome.DONE
        if self._quiet and good:
            return
        start = "\r\033[K" if self._live else ""
        word = "done" if good else str(outcome)
        click.echo(f"{start}{label} — {word} in {seconds:.1f} s", err=True)
        if not good:
            click.echo(f"  {note}", err=True)

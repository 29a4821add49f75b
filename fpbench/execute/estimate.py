"""How long what is pending will take, judged by what was run before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from fpbench.api import Outcome
from fpbench.execute.journal import Event, read_events
from fpbench.execute.runs import runs_in
from fpbench.plan import Stage


class Past:
    """What stages have taken that ended well.

    Args:
        events: how stages ended. Of a stage that was run again for a part, the longest counts.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self._stages: dict[tuple[str, str], float] = {}
        for event in events:
            if event.outcome is Outcome.DONE:
                name = event.kind, event.label
                self._stages[name] = max(self._stages.get(name, 0.0), event.seconds)
        kinds: dict[str, list[float]] = {}
        for (kind, _), seconds in self._stages.items():
            kinds.setdefault(kind, []).append(seconds)
        self._kinds = {kind: fmean(all_) for kind, all_ in kinds.items()}

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return bool(self._stages)

    def seconds(self, stage: Stage) -> float | None:
        """What a stage took, else the mean of its kind; None = none of its kind was run."""
        kind = str(stage.kind)
        return self._stages.get((kind, stage.label), self._kinds.get(kind))

    def of_kind(self, kind: str) -> float | None:
        """Mean seconds of a kind."""
        return self._kinds.get(kind)


def past_of(suite: str, runs: Path) -> Past:
    """What the stages of a suite have taken in the runs that lie in a folder.

    Args:
        suite: its name; other suites train other networks, of which nothing follows.
        runs: the folder.
    """
    return Past(event for run in runs_in(runs) for event in _events(suite, run))


def _events(suite: str, run: Path) -> Iterator[Event]:
    with suppress(OSError, ValueError, KeyError, TypeError):  # what is damaged tells nothing
        if json.loads((run / "suite.json").read_text(encoding="utf-8"))["suite"]["name"] == suite:
            yield from read_events(run)


@dataclass(frozen=True)
class Estimate:
    """What is to be done, and how long it takes if nothing has changed.

    Attributes:
        work_s: seconds of all stages, one after the other; those of unknown kinds are 0.
        wall_s: seconds with `jobs` at a time: no less than the longest chain of stages.
        jobs: stages at a time.
        unknown: stages of kinds of which none was run.
    """

    work_s: float
    wall_s: float
    jobs: int
    unknown: int

    def line(self) -> str:
        """As text; empty where nothing is to be done."""
        beyond = f"{self.unknown} stages of kinds of which none was run yet" if self.unknown else ""
        if not self.work_s:
            return f"no estimate: {beyond}" if beyond else ""
        about = f"about {duration(self.wall_s)} with {self.jobs} at a time"
        more = f", and {beyond}" if beyond else ""
        return f"{about} ({duration(self.work_s)} of work){more}"


def estimate(
    stages: Mapping[str, Stage],
    past: Past,
    jobs: int,
    share: Callable[[Stage], float],
    spent: Mapping[str, float] | None = None,
) -> Estimate:
    """Estimate some stages.

    Args:
        stages: by key, each behind its inputs.
        past: what others took.
        jobs: stages at a time.
        share: what part of a stage is left to do.
        spent: key -> seconds since the start of those that are running.
    """
    work, unknown, ends = 0.0, 0, dict[str, float]()
    for key, stage in stages.items():
        whole = past.seconds(stage)
        unknown += whole is None
        left = max(0.0, (whole or 0.0) * share(stage) - (spent or {}).get(key, 0.0))
        work += left
        ends[key] = left + max((ends.get(name, 0.0) for name in stage.inputs), default=0.0)
    jobs = max(1, jobs)
    return Estimate(work, max(work / jobs, max(ends.values(), default=0.0)), jobs, unknown)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

"""What a run has written down on its way: how stages ended, and logs of what failed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from fpbench.api import Outcome


@dataclass(frozen=True)
class Event:
    """A stage that ended.

    Attributes:
        stage: its key.
        kind: what it does.
        label: for people.
        outcome: how it ended.
        seconds: that it took.
        time: Unix time of its end.
    """

    stage: str
    kind: str
    label: str
    outcome: Outcome
    seconds: float
    time: float


@dataclass(frozen=True)
class Log:
    """What is known of a failure.

    Attributes:
        label: of the stage or cell; the key of a stage whose process died.
        path: of the file.
        text: all of it.
    """

    label: str
    path: Path
    text: str

    def tail(self, lines: int) -> list[str]:
        """Its last lines that say something."""
        return [line.rstrip() for line in self.rest.splitlines() if line.strip()][-lines:]

    @property
    def rest(self) -> str:
        """All but the label."""
        return self.text.partition("\n")[2].rstrip()

    @property
    def reason(self) -> str:
        """The one line that pages show."""
        return self.rest.partition("\n")[0]


def read_events(folder: Path) -> list[Event]:
    """The stages that ended in a run, in their order; what a kill tore is passed over."""
    file = folder / "events.jsonl"
    found = []
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    for line in text.splitlines():
        try:
            data = json.loads(line)
            found.append(Event(**{**data, "outcome": Outcome(data["outcome"])}))
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return found


def read_logs(folder: Path) -> list[Log]:
    """Every log of a run, by label; a stage whose process died goes by its label too."""
    labels = {event.stage: event.label for event in read_events(folder)}
    found = []
    for path in sorted((folder / "logs").glob("*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        head = text.partition("\n")[0]
        found.append(Log(labels.get(head, head), path, text))
    return sorted(found, key=lambda log: (log.label, log.path.name))

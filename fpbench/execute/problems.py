"""What went wrong, as outcomes, lines and logs."""

from __future__ import annotations

import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fpbench.api import MissingResource, Outcome, OutOfMemory
from fpbench.store.objects import write_text

_MOST_REASON = 2000


@dataclass(frozen=True)
class Problem:
    """Something that failed.

    Attributes:
        key: of the stage or cell that has no result.
        label: for people.
        outcome: failed, unavailable or out of memory.
        reason: one line.
        trace: the traceback.
    """

    key: str
    label: str
    outcome: Outcome
    reason: str
    trace: str

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Problem:
        """The problem of `as_json`."""
        return cls(**{**data, "outcome": Outcome(data["outcome"])})


def problem_of(key: str, label: str, error: BaseException) -> Problem:
    """A problem from an exception, whatever a plugin has put into it."""
    missing = isinstance(error, MissingResource | ImportError)
    text = _text(error) or type(error).__name__
    if isinstance(error, ImportError):
        text += "; install what it needs and run again"
    outcome = Outcome.UNAVAILABLE if missing else Outcome.FAILED
    if isinstance(error, MemoryError | OutOfMemory):
        outcome = Outcome.OUT_OF_MEMORY
    if isinstance(error, MemoryError):
        text = "out of memory; use a larger machine or smaller networks"
    return Problem(
        key=key,
        label=label,
        outcome=outcome,
        reason=f"{type(error).__name__}: {_cut(text)}",
        trace=_trace(error),
    )


def _text(error: BaseException) -> str:
    try:
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception as broken:  # noqa: BLE001 - `__str__` is a plugin's too
        return f"its text cannot be made ({type(broken).__name__})"


def _trace(error: BaseException) -> str:
    try:
        lines = "".join(traceback.format_exception(error))
    except Exception as broken:  # noqa: BLE001 - as above
        lines = f"{type(error).__name__}: its traceback cannot be made ({type(broken).__name__})"
    return lines.encode("utf-8", "backslashreplace").decode()


def _cut(text: str) -> str:
    """As much of a reason as a page shows; the log has it whole."""
    return text if len(text) <= _MOST_REASON else f"{text[:_MOST_REASON]} … (all of it in the log)"


def _starts(file: Path, head: str) -> bool:
    return file.is_file() and file.read_bytes().startswith(head.encode())


def write_log(folder: Path, problem: Problem) -> None:
    """Keep the traceback of a problem where the summary says."""
    name = "".join(c if c.isalnum() else "-" for c in problem.label)[:80]
    head = f"{problem.label}\n"
    file, number = folder / "logs" / f"{name}.txt", 1
    while file.exists() and not _starts(file, head):
        number += 1  # another label that reads alike
        file = file.with_name(f"{name}-{number}.txt")
    write_text(file, f"{head}{problem.reason}\n\n{problem.trace}")

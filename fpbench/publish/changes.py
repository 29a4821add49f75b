"""What a submission changes on a board, for its change log."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fpbench.publish.checks import Record, place_of, show
from fpbench.publish.numbers import close
from fpbench.publish.suites import SuiteJson, without_cards
from fpbench.store.records import content

_NAMED = 20  # changed values that the log names one by one


@dataclass
class Changes:
    """Rows of a board before and after a submission.

    Attributes:
        added: rows that were not there.
        superseded: rows that say something else now.
        unchanged: rows that say the same.
        withdrawn: rows that no longer stand.
        moved: (row, value before, value after) of superseded rows with another value.
        redefined: methods that are not what they were, in words.
        badges: methods whose numbers are checked otherwise than they were, in words.
    """

    added: int = 0
    superseded: int = 0
    unchanged: int = 0
    withdrawn: int = 0
    moved: list[tuple[str, Any, Any]] = field(default_factory=list)
    redefined: list[str] = field(default_factory=list)
    badges: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """As the change log has them, in Markdown."""
        lines = [
            f"- Rows: {self.added:,} added, {self.superseded:,} superseded "
            f"({len(self.moved):,} with another value), {self.unchanged:,} unchanged, "
            f"{self.withdrawn:,} withdrawn."
        ]
        lines += [f"- {harmless(text)}" for text in [*self.badges, *self.redefined]]
        lines += [
            f"- {harmless(row)}: {_shown(before)} → {_shown(after)}"
            for row, before, after in self.moved[:_NAMED]
        ]
        if len(self.moved) > _NAMED:
            lines.append(f"- … and {len(self.moved) - _NAMED:,} more values.")
        return lines


def changes(
    before: Mapping[str, Record],
    after: Mapping[str, Record],
    old: SuiteJson | None,
    new: SuiteJson,
) -> Changes:
    """Compare the current records of a board with those it will have.

    Args:
        before: record id -> record.
        after: the same, later.
        old: the board's suite; None where there was none.
        new: that of the submission.
    """
    found = Changes(redefined=_redefined(old, new))
    found.withdrawn = len(before.keys() - after.keys())
    for identity, record in after.items():
        known = before.get(identity)
        if known is None:
            found.added += 1
        elif content(known) == content(record):
            found.unchanged += 1
        else:
            found.superseded += 1
            if not close(known["value"], record["value"]):
                name = f"{show(place_of(record))}: {record['metric']} {record['variant']}".strip()
                found.moved.append((name, known["value"], record["value"]))
    return found


def harmless(text: str) -> str:
    """A text from somebody else as it may stand in Markdown: one line, no markup."""
    line = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{letter}" if letter in r"\`*_[]|#" else letter for letter in line)


def _redefined(old: SuiteJson | None, new: SuiteJson) -> list[str]:
    known = {m["label"]: without_cards(m) for m in (old or {}).get("methods", [])}
    found = []
    for method in map(without_cards, new["methods"]):
        former = known.get(method["label"], method)
        differing = [
            f"{name} {former.get(name)!r} → {method.get(name)!r}"
            for name in ("name", "version")
            if former.get(name) != method.get(name)
        ]
        ours, theirs = former["params"], method["params"]
        differing += [
            f"{name} {ours.get(name)!r} → {theirs.get(name)!r}"
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        ]
        if differing:
            found.append(f"The method {method['label']} is another one: {', '.join(differing)}.")
    return found


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"

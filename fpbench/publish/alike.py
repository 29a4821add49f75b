"""Whether the records of a submission can stand beside those of other methods on one board."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fpbench.api import canonical_json
from fpbench.publish.checks import Record

_FACTS = ("name", "version", "params", "strength", "access", "kind", "family", "scored")
"""Of an attack at a point; whatever else a record says of it may depend on the method."""
_RANKED = "attribution"


def unlike_records(
    board: Iterable[Record], new: Iterable[Record], *, copies: bool = True
) -> list[str]:
    """Why two sets of records cannot be compared, in words; empty if they can.

    Args:
        board: of the methods that stay.
        new: of the submission.
        copies: whether their numbers are compared; where suites differ, that says why already.
    """
    ours, theirs = list(board), list(new)
    return [
        *_differing("point", _points(ours), _points(theirs)),
        *_differing("version of metric", _versions(ours), _versions(theirs)),
        *(_differing("number of copies under", _copies(ours), _copies(theirs)) if copies else ()),
    ]


def _differing(what: str, ours: dict[str, set[str]], theirs: dict[str, set[str]]) -> list[str]:
    return [
        f"{what} {name}: the board has {_words(ours[name])}, the bundle {_words(theirs[name])}"
        for name in sorted(ours.keys() & theirs.keys())
        if ours[name] != theirs[name]
    ]


def _points(records: Iterable[Record]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for record in records:
        point = record["point"]
        for part in ("model", "image"):
            # One set for each part and fact, so that a message names the fact.
            known = point.get(part) or {}
            for name in _FACTS:
                place = f"{point['label']} ({part}.{name})"
                found.setdefault(place, set()).add(canonical_json(_get(known, name)))
    return found


def _get(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, dict) else part


def _versions(records: Iterable[Record]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for record in records:
        if record["metric"]:
            found.setdefault(record["metric"], set()).add(record.get("metric_version", ""))
    return found


def _copies(records: Iterable[Record]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for record in records:
        if record["metric"] == _RANKED and record["by_copy"]:
            place = f"{record['point']['label']} {record['variant']}".strip()
            found.setdefault(place, set()).add(str(len(record["by_copy"])))
    return found


def _words(values: set[str]) -> str:
    return " and ".join(sorted(values))[:80]

"""What can be checked of a bundle without any plugin: its records, and that none is missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from fpbench.api import StoreError
from fpbench.execute.records import record_id
from fpbench.publish.manifest import Header
from fpbench.publish.suites import SuiteJson, header_of
from fpbench.report.inputs import suite_points
from fpbench.store.schema import EDITED, SCHEMA_VERSION, parsed, unknown_fields

MOST_PROBLEMS = 100
"""Of one kind that are looked for; who made that many by mistake need not read them all."""
_MOST_LINE = 16 * 2**20  # bytes
_NEXT = "Export the run again"
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
_AHEAD = timedelta(days=1)  # that a submitter's clock may be before this one
_NOTHING: Mapping[str, Any] = {
    "level": "",
    "training_seed": 0,
    "metric": "",
    "variant": "",
    "value": None,
    "low": None,
    "high": None,
    "by_copy": [],
    "outcome": "unavailable",
    "detail": {},
}
"""What a record says of a component that could not be loaded, beside its label and the reason."""

Record = dict[str, Any]
Place = tuple[str, int, str]
"""Method label, training seed, point label: a cell."""


@dataclass
class Read:
    """The records of a bundle.

    Attributes:
        records: those that are records.
        problems: what is wrong with the others.
        unknown: fields that this version does not know.
        older: schema versions before the current one that some are of.
    """

    records: list[Record] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    older: set[int] = field(default_factory=set)


def read_records(path: Path) -> Read:
    """Every line of a bundle's records, which hold the current ones and no history."""
    found, seen = Read(), set[str]()
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file), start=1):
            try:
                record = _record(line, f"line {number} of {path.name}", seen)
            except StoreError as error:
                found.problems.append(str(error).replace(EDITED, _NEXT))
                if len(found.problems) == MOST_PROBLEMS:
                    break
            else:
                found.records.append(record)
                found.unknown |= unknown_fields(record)
                if (version := orjson.loads(line)["schema_version"]) < SCHEMA_VERSION:
                    found.older.add(version)
    return found


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines of a file, none longer than may be."""
    while line := file.readline(_MOST_LINE):
        yield line
        if len(line) == _MOST_LINE and not line.endswith(b"\n"):
            return  # said of its first part; what comes after it is part of it


def _record(line: bytes, where: str, seen: set[str]) -> Record:
    """The record in a line of a bundle.

    Raises:
        StoreError: it is none, or should not be there.
    """
    if not line.endswith(b"\n"):
        raise StoreError(f"records: {where}: expected whole lines, got a torn one. {_NEXT}")
    record = parsed(line[:-1], where)
    identity, problem = record["record_id"], ""
    if record.get("withdrawn"):
        problem = "expected a current record, got a withdrawal"
    elif identity in seen:
        problem = f"expected every record once, got {identity}"
    else:
        problem = _misnamed(record) or _misdated(record)
    seen.add(identity)
    if problem:
        raise StoreError(f"records: {where}: {problem}. {_NEXT}", identity)
    return record


def place_of(record: Mapping[str, Any]) -> Place:
    """The cell that a record tells of."""
    label = str(record["method"].get("label", ""))
    return label, record["training_seed"], str(record["point"]["label"])


def by_place(records: Iterable[Record]) -> dict[Place, list[Record]]:
    """Cell -> its records, those of components that were unavailable left out."""
    found: dict[Place, list[Record]] = {}
    for record in records:
        if record["cell"]:
            found.setdefault(place_of(record), []).append(record)
    return found


def incomplete(records: Iterable[Record], suite: SuiteJson) -> list[str]:
    """What a suite asks for and the records do not say, or say beyond it."""
    listed = list(records)
    cells, seeds = by_place(listed), suite["training"]["seeds"]
    wanted = [
        (method["label"], seed, point)
        for method in suite["methods"]
        # What trains nothing is run once.
        for seed in (seeds if method.get("trains", True) else seeds[:1])
        for point in suite_points(suite)
    ]
    found = [
        f"{show(place)}: expected numbers or an outcome with a reason, got no record; nothing may "
        "be dropped. Run the suite again and export the run"
        for place in wanted
        if place not in cells
    ]
    found += [
        f"{show(place)}: expected cells of the suite, got one that suite.json does not name"
        for place in sorted(cells.keys() - set(wanted))
    ]
    for place, own in cells.items():
        if len({bool(record["metric"]) for record in own}) > 1:
            found.append(f"{show(place)}: expected numbers or an outcome without any, got both")
    return found + _shared_keys(cells) + _unfounded(listed) + _not_unavailable(listed)


def foreign(records: Iterable[Record], suite: SuiteJson, manifest: Header) -> list[str]:
    """Whether all parts of a bundle are of one suite."""
    header = header_of(suite)
    found = []
    if header != manifest:
        found.append(f"suite.json: expected the suite {manifest}, which the manifest names")
    own = header.model_dump()
    other = [record for record in records if record["suite"] != own]
    if other:
        found.append(
            f"records: expected records of {own}, got {len(other)} of another suite, e.g. "
            f"{other[0]['suite']}"
        )
    return found


def show(place: Place) -> str:
    """A cell as people write it."""
    method, seed, point = place
    trained = f"{method} (training seed {seed})" if seed else method
    return f"{trained} under {point}"


def _misnamed(record: Record) -> str:
    try:
        expected = record_id(record)
    except (TypeError, ValueError, RecursionError):
        expected = "another"
    if record["record_id"] != expected:
        return (
            f"expected the record_id {expected[:16]}… of what it is a number of, got "
            f"{record['record_id'][:16]}…; it was edited"
        )
    return ""


def _misdated(record: Record) -> str:
    """Why its date is none that a run writes; on a board the newest numbers of a method hold."""
    said = record.get("created_utc", "")
    try:
        when = datetime.fromisoformat(said) if _DATE.fullmatch(said) else None
    except ValueError:  # the 31st of February
        when = None
    if said and when is None:
        return f"expected a date like 2026-01-31T12:00:00+00:00 as created_utc, got {said[:40]!r}"
    if when is not None and when > datetime.now(UTC) + _AHEAD:
        return f"expected a created_utc that is over, got {said}; one of two clocks is wrong"
    return ""


def _shared_keys(cells: Mapping[Place, list[Record]]) -> list[str]:
    """Places whose records have several cell keys, or that of another place: pages follow it."""
    found, owners = [], dict[str, Place]()
    for place, own in cells.items():
        keys = {record["cell"] for record in own}
        if len(keys) > 1:
            found.append(f"{show(place)}: expected one key as cell, got {len(keys)}. {_NEXT}")
        for key in sorted(keys):
            owner = owners.setdefault(key, place)
            if owner != place:
                found.append(
                    f"{show(place)}: expected its own key as cell, got that of {show(owner)}. "
                    f"{_NEXT}"
                )
    return found


def _not_unavailable(records: Iterable[Record]) -> list[str]:
    """Records of no cell that are not those of a component that could not be loaded."""
    return [
        f"{show(place_of(record))}: {record['metric'] or 'the cell'}: expected a key as cell, or a "
        "record of one method or attack that is unavailable and no more, got an empty key. "
        f"{_NEXT}"
        for record in records
        if not record["cell"] and not _is_unavailable(record)
    ]


def _is_unavailable(record: Record) -> bool:
    method, _, point = place_of(record)
    parts = ({"label": method} if method else {}, {"label": point})
    return (
        bool(method) != bool(point)
        and (record["method"], record["point"]) == parts
        and all(record[name] == value for name, value in _NOTHING.items() if name in record)
    )


def _unfounded(records: Iterable[Record]) -> list[str]:
    """Records without a number that give no reason."""
    return [
        f"{show(place_of(record))}: {record['metric'] or 'the cell'} {record['variant']}: expected "
        f"a reason why it is {record['outcome']}, got none"
        for record in records
        if not record["reason"] and (record["outcome"] != "done" or not record["metric"])
    ]

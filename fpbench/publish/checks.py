"""What can be checked of a bundle without any plugin: its records, and that none is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fpbench.api import StoreError
from fpbench.execute.measure import record_id
from fpbench.publish.manifest import Header
from fpbench.publish.suites import SuiteJson, header_of
from fpbench.report.inputs import suite_points
from fpbench.store.schema import parsed, unknown_fields

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
    """

    records: list[Record] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)


def read_records(path: Path) -> Read:
    """Every line of a bundle's records, which hold the current ones and no history."""
    found, seen = Read(), set()
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        return Read(problems=[f"{path.name}: expected UTF-8, got other bytes ({error})"])
    if lines.pop():
        found.problems.append(f"{path.name}: expected whole lines, got a torn one at the end")
    for number, line in enumerate(lines, start=1):
        where = f"line {number} of {path.name}"
        try:
            record = parsed(line, where)
        except StoreError as error:
            found.problems.append(str(error))
            continue
        identity = record["record_id"]
        if record.get("withdrawn"):
            found.problems.append(f"records: {where}: expected a current record, got a withdrawal")
        elif identity in seen:
            found.problems.append(f"records: {where}: expected every record once, got {identity}")
        elif problem := _misnamed(record):
            found.problems.append(f"records: {where}: {problem}")
        else:
            found.records.append(record)
            found.unknown |= unknown_fields(record)
        seen.add(identity)
    return found


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
    cells = by_place(listed)
    wanted = [
        (method["label"], seed, point)
        for method in suite["methods"]
        for seed in suite["training"]["seeds"]
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
    return found + _unfounded(listed)


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
    except (TypeError, ValueError):
        expected = "another"
    if record["record_id"] != expected:
        return (
            f"expected the record_id {expected[:16]}… of what it is a number of, got "
            f"{record['record_id'][:16]}…; it was edited"
        )
    return ""


def _unfounded(records: Iterable[Record]) -> list[str]:
    """Records without a number that give no reason."""
    return [
        f"{show(place_of(record))}: {record['metric'] or 'the cell'} {record['variant']}: expected "
        f"a reason why it is {record['outcome']}, got none"
        for record in records
        if not record["reason"] and (record["outcome"] != "done" or not record["metric"])
    ]

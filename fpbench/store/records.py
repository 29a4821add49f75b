"""Append-only records: one JSON line per measured row; a newer line supersedes, none is changed."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from fpbench.api import StoreError, canonical_json, digest
from fpbench.store.objects import disk_errors
from fpbench.store.schema import Record, parsed

VOLATILE = frozenset({"created_utc", "cost", "environment", "command", "attempt"})
"""Fields that differ between two runs of the same work; everything else must not."""


class _Line(NamedTuple):
    """What is held of a line while others are written: what it says, and where it starts."""

    mark: bytes
    withdrawn: bool
    start: int


class RecordLog:
    """The records of one run.

    Args:
        path: the `.jsonl` file, made at the first append.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Record]:
        """The latest record of each identity that was not withdrawn, in the current schema.

        Records share equal parts: do not change them.

        Raises:
            StoreError: a complete line is not a record, or of a schema that cannot be read. (An
                incomplete last line is what a kill leaves behind; it was never committed and is
                passed over.)
        """
        return {k: r for k, (r, _) in self.numbered().items()}

    def numbered(self) -> dict[str, tuple[Record, int]]:
        """As `read`, with the line of each record. Records share equal parts: do not change them.

        Raises:
            StoreError: as `read`.
        """
        return {k: (r, n) for k, (r, n) in self._numbered().items() if not r.get("withdrawn")}

    def update(self, records: Iterable[Mapping[str, Any]]) -> int:
        """Append what makes `records` the current ones; returns the number of lines.

        New and changed records are appended; those that are current now and not among `records`
        are withdrawn by a line that says so.
        """
        known, end = self._known()
        lines = self._news(records, known)
        first = next(lines, None)
        if first is None:
            return 0
        count = 0
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with disk_errors(self._path), self._path.open("ab") as file:
            file.truncate(end)  # a line torn by a kill
            for line in chain([first], lines):
                file.write(f"{canonical_json(line)}\n".encode())
                count += 1
            file.flush()
            os.fsync(file.fileno())
        return count

    def _news(
        self, records: Iterable[Mapping[str, Any]], known: Mapping[str, _Line]
    ) -> Iterator[dict[str, Any]]:
        """The lines that make `records` the current ones."""
        wanted = set()
        for record in records:
            identity = record["record_id"]
            wanted.add(identity)
            line = known.get(identity)
            if line is None:
                yield {**record, "supersedes": None}
            elif line.mark != _mark(record):
                yield {**record, "supersedes": self._name_of(line)}
        for identity, line in known.items():
            if identity not in wanted and not line.withdrawn:
                name = self._name_of(line)
                yield {"record_id": identity, "withdrawn": True, "supersedes": name}

    def _known(self) -> tuple[dict[str, _Line], int]:
        """The latest line of each identity, and where the complete lines end."""
        known: dict[str, _Line] = {}
        start = 0
        for number, line in enumerate(self._lines(), start=1):
            record = _read(line, number, str(self._path))
            withdrawn = bool(record.get("withdrawn"))
            known[record["record_id"]] = _Line(_mark(record), withdrawn, start)
            start += len(line)
        return known, start

    def _name_of(self, line: _Line) -> str:
        with self._path.open("rb") as file:
            file.seek(line.start)
            return digest(content(parsed(file.readline())))

    def _numbered(self) -> dict[str, tuple[Record, int]]:
        latest: dict[str, tuple[Record, int]] = {}
        shared, name = _Shared(), str(self._path)
        with no_collector():
            for number, line in enumerate(self._lines(), start=1):
                record = shared.parts(_read(line, number, name))
                latest[record["record_id"]] = record, number
        return latest

    def _lines(self) -> Iterator[bytes]:
        """The complete lines; what a kill tore ends without a line end."""
        if self._path.is_file():
            with self._path.open("rb") as file:
                yield from (line for line in file if line.endswith(b"\n"))


@contextmanager
def no_collector() -> Iterator[None]:
    """While many records are held: they have no cycles, and to look for some takes long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _read(line: bytes, number: int, name: str) -> Record:
    try:
        return parsed(line)
    except StoreError:
        return parsed(line, f"line {number} of {name}")  # the same fault again, with its place


class _Shared:
    """One object for each distinct part: a hundred thousand records name few hosts and cells."""

    _TABLES = frozenset(
        {"suite", "dataset", "host", "method", "point", "environment", "inputs", "cost", "sample"}
    )
    _TEXTS = frozenset({"cell", "command", "created_utc", "metric", "variant", "rule", "reason"})

    def __init__(self) -> None:
        self._tables: dict[bytes, Any] = {}
        self._texts: dict[str, str] = {}

    def parts(self, record: Record) -> Record:
        for name in self._TABLES & record.keys():
            part = record[name]
            record[name] = self._tables.setdefault(orjson.dumps(part), part)
        for name in self._TEXTS & record.keys():
            record[name] = self._texts.setdefault(record[name], record[name])
        return record


def content(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says, without when and how fast it was made."""
    return {k: v for k, v in record.items() if k not in VOLATILE and k != "supersedes"}


def _mark(record: Mapping[str, Any]) -> bytes:
    """Equal for records that say the same."""
    text = orjson.dumps(content(record), option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=16).digest()

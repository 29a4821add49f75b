"""Append-only records: one JSON line per measured row; a newer line supersedes, none is changed."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from fpbench.api import StoreError, canonical_json, digest
from fpbench.store.objects import disk_errors
from fpbench.store.schema import Record, parsed

VOLATILE = frozenset({"created_utc", "cost", "environment", "command", "attempt"})
"""Fields that differ between two runs of the same work; everything else must not."""


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
        latest = self._latest()
        lines = []
        wanted = set()
        for record in records:
            wanted.add(record["record_id"])
            known = latest.get(record["record_id"])
            if known is not None and content(known) == content(record):
                continue
            lines.append({**record, "supersedes": None if known is None else _name(known)})
        for identity, known in latest.items():
            if identity not in wanted and not known.get("withdrawn"):
                gone = {"record_id": identity, "withdrawn": True, "supersedes": _name(known)}
                lines.append(gone)
        if lines:
            self._write("".join(canonical_json(line) + "\n" for line in lines))
        return len(lines)

    def _latest(self) -> dict[str, Record]:
        return {identity: record for identity, (record, _) in self._numbered().items()}

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

    def _write(self, text: str) -> None:
        whole = sum(map(len, self._lines()))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with disk_errors(self._path), self._path.open("ab") as file:
            file.truncate(whole)  # a line torn by a kill
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())


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


def _name(record: Mapping[str, Any]) -> str:
    return digest(content(record))

"""Append-only records: one JSON line per measured row; a newer line supersedes, none is changed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fpbench.api import StoreError, canonical_json, digest
from fpbench.store.objects import disk_errors

VOLATILE = frozenset({"created_utc", "cost", "environment", "command", "attempt"})
"""Fields that differ between two runs of the same work; everything else must not."""


class RecordLog:
    """The records of one run.

    Args:
        path: the `.jsonl` file, made at the first append.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, dict[str, Any]]:
        """The latest record of each identity that was not withdrawn.

        Raises:
            StoreError: a complete line is not a record. (An incomplete last line is what a kill
                leaves behind; it was never committed and is passed over.)
        """
        return {k: r for k, r in self._latest().items() if not r.get("withdrawn")}

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

    def _latest(self) -> dict[str, dict[str, Any]]:
        latest: dict[str, dict[str, Any]] = {}
        for number, line in enumerate(self._lines(), start=1):
            try:
                record = json.loads(line)
                latest[record["record_id"]] = record
            except (ValueError, KeyError, TypeError):
                raise StoreError(
                    f"records: line {number} of {self._path} is not a record; it was edited. "
                    "Move the file away and run again: it is rebuilt from the store",
                    path=str(self._path),
                ) from None
        return latest

    def _lines(self) -> list[str]:
        if not self._path.is_file():
            return []
        text = self._path.read_text(encoding="utf-8")
        return text[: text.rfind("\n") + 1].splitlines()

    def _write(self, text: str) -> None:
        whole = sum(len(line.encode()) + 1 for line in self._lines())
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with disk_errors(self._path), self._path.open("ab") as file:
            file.truncate(whole)  # a line torn by a kill
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())


def content(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says, without when and how fast it was made."""
    return {k: v for k, v in record.items() if k not in VOLATILE and k != "supersedes"}


def _name(record: Mapping[str, Any]) -> str:
    return digest(content(record))

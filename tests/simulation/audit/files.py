"""The files of a run and of its store, read without fpbench."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

_TYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip


class AuditError(Exception):
    """The files are not what they say; nothing can be computed from them."""


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: what digests and seeds are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sha256(value: Any) -> str:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical(value)).hexdigest()


def seed_of(*parts: Any) -> int:
    """The first 63 bits of the SHA-256 of the canonical JSON of a list."""
    return int(sha256(list(parts))[:16], 16) >> 1


def tensors(payload: bytes) -> dict[str, np.ndarray]:
    """A safetensors file: 8 bytes of length, a JSON header, the bytes of the tensors."""
    length = int.from_bytes(payload[:8], "little")
    header = json.loads(payload[8 : 8 + length])
    header.pop("__metadata__", None)
    found = {}
    for name, about in header.items():
        first, last = (8 + length + place for place in about["data_offsets"])
        flat = np.frombuffer(payload[first:last], dtype=_TYPES[about["dtype"]])
        found[name] = flat.reshape(about["shape"])
    return found


@dataclass
class Store:
    """The objects of a store; every file is checked against the digests that it was written with.

    Attributes:
        root: folder.
    """

    root: Path
    _columns: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tensors = lru_cache(maxsize=256)(self._read)

    def has(self, key: str) -> bool:
        """Whether there is an artefact of this key."""
        return self._folder(key).is_dir()

    def artefact(self, key: str) -> dict[str, np.ndarray]:
        """The tensors of an artefact in one part."""
        return self._tensors(key, "main")

    def column(self, key: str, column: str) -> dict[str, np.ndarray]:
        """The tensors of one column of a reading, whichever part holds it."""
        if key not in self._columns:
            parts = sorted(path.name for path in self._folder(key).iterdir())
            self._columns[key] = {
                name: part
                for part in reversed(parts)  # of two that hold it the first counts
                for name in self.manifest(key, part)["meta"].get("columns", [])
            }
        found = self._tensors(key, self._columns[key][column])
        prefix = f"{column}/"
        return {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}

    def manifest(self, key: str, part: str) -> dict[str, Any]:
        """What is said of a part, if it is as it was written."""
        body: dict[str, Any] = json.loads((self._folder(key) / part / "manifest.json").read_bytes())
        stated = body.pop("self")
        if stated != sha256(body) or body["key"] != key or body["shard"] != part:
            raise AuditError(f"{key}/{part}: the manifest is not as it was written")
        return body

    def _read(self, key: str, part: str) -> dict[str, np.ndarray]:
        payload = (self._folder(key) / part / "arrays.safetensors").read_bytes()
        if hashlib.sha256(payload).hexdigest() != self.manifest(key, part)["sha256"]:
            raise AuditError(f"{key}/{part}: the tensors are not those that were written")
        return tensors(payload)

    def _folder(self, key: str) -> Path:
        return self.root / "objects" / key[:2] / key


def current_records(path: Path) -> list[dict[str, Any]]:
    """The last line of each record, without those that were withdrawn."""
    latest = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        latest[record["record_id"]] = record
    return [record for record in latest.values() if not record.get("withdrawn")]


def table(path: Path) -> dict[str, dict[str, str]]:
    """Method -> its line of a table; empty where there is no table."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {line["method"]: line for line in csv.DictReader(file)}

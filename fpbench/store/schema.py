"""What a record is, version by version: what is read is checked, and old records are migrated.

A field is required when a page cannot be drawn without it. Fields that nobody here knows are kept:
a newer plugin may write them. A record of an older version goes through `MIGRATIONS`, one step for
each version; `tests/unit/store/golden` holds records of every version there ever was.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from itertools import repeat
from types import MappingProxyType, NoneType
from typing import Any

import orjson

from fpbench.api import Outcome, StoreError

Record = dict[str, Any]
Migrations = Mapping[int, Callable[[Record], Record]]

SCHEMA_VERSION = 2


def _tier(point: Record) -> str:
    """The tier of the one attack of a record that does not say it; steps are not known there."""
    parts = [p for p in (point.get("model"), point.get("image")) if isinstance(p, dict)]
    if len(parts) != 1:
        return ""
    if parts[0].get("kind") == "image":
        return "samples"
    if parts[0].get("kind") != "model":
        return ""
    access = parts[0].get("access")
    trains = isinstance(access, list) and ("clean-images" in access or "trainer" in access)
    return "training" if trains else "copy"


def _from_1(record: Record) -> Record:
    """Tiers, budgets, damage and what a sample is; what nobody can know any more is null."""
    point = record.get("point")
    new = {
        "tier": _tier(point) if isinstance(point, dict) else "",
        "budget": None,
        "damage": None,
        "effect": "",
        "sample": {"modality": "image", "shape": None, "dtype": "uint8", "rate": None},
    }
    method = record.get("method")
    if record.get("cell") and isinstance(method, dict):
        new["method"] = {**method, "reads": "samples", "gives": "bits", "trains": None}
    return record | new


MIGRATIONS: Migrations = MappingProxyType({1: _from_1})
"""Version -> what turns a record of this version into one of the next."""

_NUMBER = (float, int, NoneType)
_REQUIRED: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "suite": (dict,),
        "cell": (str,),
        "method": (dict,),
        "training_seed": (int,),
        "point": (dict,),
        "metric": (str,),
        "variant": (str,),
        "value": _NUMBER,
        "low": _NUMBER,
        "high": _NUMBER,
        "rule": (str,),
        "n": (int,),
        "clusters": (int,),
        "by_copy": (list,),
        "outcome": (str,),
        "reason": (str,),
        "detail": (dict,),
    }
)
_OPTIONAL: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "command": (str,),
        "cost": (dict,),
        "budget": _NUMBER,
        "created_utc": (str,),
        "damage": _NUMBER,
        "dataset": (dict,),
        "effect": (str,),
        "environment": (dict,),
        "higher_is_better": (bool, NoneType),
        "host": (dict,),
        "inputs": (dict,),
        "level": (str,),
        "metric_version": (str,),
        "modality": (str,),
        "sample": (dict,),
        "supersedes": (str, NoneType),
        "tier": (str,),
        "unit": (str,),
    }
)
_CHECKED: Mapping[str, tuple[type, ...]] = MappingProxyType({**_REQUIRED, **_OPTIONAL})
KNOWN = frozenset({"record_id", "schema_version", *_CHECKED})
"""Every field of the current version."""


class _Absent:
    """The type of what is not there; null is."""


_ABSENT = _Absent()
_OUTCOMES = frozenset(str(outcome) for outcome in Outcome)
_ID = re.compile(r"[0-9a-f]{64}")
# What a line that is no JSON may still tell: whose it is, and a number that JSON does not have.
_NAMED = re.compile(r'"record_id": ?"([0-9a-f]{64})"')
_ODD = re.compile(r"[:,\[] ?(NaN|-?Infinity)")
EDITED = "Move the file away and run again: it is rebuilt from the store"
"""What to do about a line of a run's log; who reads other files says another thing."""


def parsed(line: bytes | str, where: str = "") -> Record:
    """A record, or a withdrawal, from a line of JSON: checked, and migrated where it is older.

    Args:
        line: one line of a log.
        where: how to call it in messages, e.g. "line 7 of runs/a/records.jsonl".

    Raises:
        StoreError: it is neither, or is of a version that cannot be read.
    """
    try:
        # Strict where Python's own reader is not: no NaN, no number beyond all floats.
        record = orjson.loads(line)
    except ValueError as error:
        text = line if isinstance(line, str) else line.decode("utf-8", "replace")
        known, odd = _NAMED.search(text), _ODD.search(text)
        got = f"the number {odd[1]}" if odd else str(error)
        identity = known[1] if known else ""
        raise _wrong(identity, where, "one JSON object with finite numbers", got) from None
    if isinstance(record, dict) and record.get("withdrawn"):
        _check_id(record, where)
        return record
    return checked(record, where)


def checked(
    record: Record,
    where: str = "",
    *,
    version: int = SCHEMA_VERSION,
    migrations: Migrations = MIGRATIONS,
) -> Record:
    """The record in the form of the current version.

    Args:
        record: as it was read.
        where: how to call it in messages.
        version: the current version.
        migrations: version -> what turns a record of this version into one of the next.

    Raises:
        StoreError: a field is missing, of another type, or no finite number; the record is of a
            newer version, or of one from which no migration leads here.
    """
    identity = _check_id(record, where)
    own = record.get("schema_version")
    if type(own) is not int:
        raise _wrong(identity, where, "a whole number as schema_version", repr(own))
    while own < version:
        if own not in migrations:
            got = f"schema version {own}, which cannot be read any more"
            step = "Run again to measure anew, or use the fpbench that wrote it"
            raise _wrong(identity, where, f"schema version {version}", got, step)
        record = {**migrations[own](record), "schema_version": own + 1}
        own += 1
    if own > version:
        got = f"schema version {own}, of a newer fpbench"
        raise _wrong(identity, where, f"schema version {version} or older", got, "Update fpbench")
    _check_fields(record, identity, where)
    return record


def unknown_fields(record: Mapping[str, Any]) -> set[str]:
    """Names of fields that this version does not know."""
    return set(record) - KNOWN


def _check_id(record: object, where: str) -> str:
    if not isinstance(record, dict):
        raise _wrong("", where, "one JSON object", type(record).__name__)
    identity = record.get("record_id")
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        raise _wrong("", where, "a record_id of 64 hexadecimal digits", repr(identity)[:80])
    return identity


def _check_fields(record: Record, identity: str, where: str) -> None:
    kinds = tuple(map(type, map(record.get, _CHECKED, repeat(_ABSENT))))
    name = _first_wrong(kinds)
    if name in _REQUIRED and name not in record:
        raise _wrong(identity, where, f"a field '{name}'", "none")
    if name:
        raise _wrong(identity, where, _wanted(name, _CHECKED[name]), repr(record[name])[:80])
    if record["outcome"] not in _OUTCOMES:
        raise _wrong(
            identity, where, f"one of {', '.join(sorted(_OUTCOMES))}", repr(record["outcome"])[:80]
        )
    _check_numbers(record, identity, where)
    for part in ("method", "point"):
        label = record[part].get("label", "" if part == "method" else None)
        if type(label) is not str:
            raise _wrong(identity, where, f"a text as {part}.label", repr(label)[:80])


@cache
def _first_wrong(kinds: tuple[type, ...]) -> str:
    """The first field of a wrong type; records look alike, so few combinations are ever asked."""
    for (name, types), kind in zip(_CHECKED.items(), kinds, strict=True):
        if kind not in types and (kind is not _Absent or name in _REQUIRED):
            return name
    return ""


def _check_numbers(record: Record, identity: str, where: str) -> None:
    by_copy = record["by_copy"]
    if not set(map(type, by_copy)) <= {float, int, NoneType}:
        raise _wrong(identity, where, "numbers or null in 'by_copy'", repr(by_copy)[:80])
    for name in ("value", "low", "high", "budget", "damage"):
        if record.get(name) is not None and not _finite(record[name]):
            raise _wrong(identity, where, f"a finite number as '{name}'", repr(record[name])[:80])
    if None in by_copy:
        by_copy = [value for value in by_copy if value is not None]
    if not (_finite_sum(by_copy) or all(map(_finite, by_copy))):
        raise _wrong(identity, where, "finite numbers in 'by_copy'", repr(by_copy)[:80])


def _finite_sum(values: list[float]) -> bool:
    """True only if all are finite; asked first, since one sum is faster than thirty questions."""
    try:
        return math.isfinite(sum(values))
    except OverflowError:
        return False


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _wanted(name: str, types: tuple[type, ...]) -> str:
    words: dict[type, str] = {dict: "an object", list: "a list", str: "a text", NoneType: "null"}
    words |= {int: "a number", float: "a number", bool: "true or false"}
    names = (words.get(kind, kind.__name__) for kind in types)
    return f"{' or '.join(dict.fromkeys(names))} as '{name}'"


def _wrong(identity: str, where: str, expected: str, got: str, step: str = EDITED) -> StoreError:
    who = f"record {identity[:16]}…" if identity else "what is not a record"
    place = f" ({where})" if where else ""
    return StoreError(f"records: {who}{place}: expected {expected}, got {got}. {step}", identity)

"""All records in one script file, small enough to lie beside a page.

A page that was opened from disk may load scripts but read no files, so the records come as a
script: gzip in base64, unpacked by the browser itself. They are written field by field, and a
value that repeats from record to record is written once.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from types import NoneType
from typing import Any

import orjson

from fpbench.report.inputs import Record

ABSENT = -1
"""Instead of a place in `values`: the record has no such field."""

_MANY = 50_000  # records from which a second process is worth its memory
_TRIED = 2000  # values that show whether a field repeats
_PIECE = 5000  # values that are turned into text at a time
_GZIP = 16 + zlib.MAX_WBITS
_LEVELS = ((20_000, 9), (1 << 62, 2))
"""(records, level of gzip): hard work pays while a page is small."""


@contextmanager
def packing(records: Sequence[Record], path: Path) -> Iterator[None]:
    """Do `write_packed` while the block runs; on another core where there is much of it."""
    if len(records) < _MANY or sys.platform != "linux":
        yield
        write_packed(records, path)
        return
    with warnings.catch_warnings():
        # Python warns of threads, which libraries have idle; the child computes and writes a file.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = get_context("fork").Process(target=write_packed, args=(records, path))
        child.start()
    try:
        yield
    finally:
        child.join()
    if child.exitcode != 0:
        write_packed(records, path)  # again, for its exception


def write_packed(records: Sequence[Record], path: Path) -> None:
    """Write a script that hands the records over; equal records give equal bytes.

    Its content is {"count": records, "fields": {name: {"values": […], "places": […]}}}: a record's
    value of a field is values[places[record]], or values[record] where there are no places.
    """
    level = next(level for most, level in _LEVELS if len(records) <= most)
    gzip = zlib.compressobj(level, wbits=_GZIP)
    with path.open("wb") as file:
        file.write(b'fpbench.records("')
        left = b""
        for piece in _json(records):
            left += gzip.compress(piece)
            whole = len(left) // 3 * 3  # base64 is written in threes
            file.write(base64.b64encode(left[:whole]))
            left = left[whole:]
        file.write(base64.b64encode(left + gzip.flush()))
        file.write(b'");\n')


def _json(records: Sequence[Record]) -> Iterator[bytes]:
    yield b'{"count":%d,"fields":{' % len(records)
    names = sorted({name for record in records for name in record})
    for number, name in enumerate(names):
        values, places = _column([record.get(name, _NONE) for record in records])
        yield b"," * (number > 0) + orjson.dumps(name, option=_SORTED) + b':{"values":['
        yield from _listed(values)
        if places is not None:
            yield b'],"places":['
            yield from _listed(places)
        yield b"]}"
    yield b"}}"


_NONE = object()  # instead of the value of a field that a record does not have
_SORTED = orjson.OPT_SORT_KEYS


def _listed(values: Sequence[Any]) -> Iterator[bytes]:
    for start in range(0, len(values), _PIECE):
        text = orjson.dumps(values[start : start + _PIECE], option=_SORTED)
        yield b"," * (start > 0) + text[1:-1]


def _column(column: Sequence[Any]) -> tuple[list[Any], list[int] | None]:
    """Distinct values in order of first appearance, and where each record's stands."""
    complete = all(value is not _NONE for value in column)
    first = _keys(column[:_TRIED])
    if complete and len(column) > _TRIED and len(set(first)) > len(first) / 2:
        return list(column), None  # few values repeat, so to look for them would be in vain
    keys = _keys(column)
    places = {
        key: place for place, key in enumerate(k for k in dict.fromkeys(keys) if k is not _NONE)
    }
    if len(places) == len(column):
        return list(column), None
    values = list(places)
    if keys is not column:
        firsts = dict(zip(reversed(keys), reversed(column), strict=True))  # the first one stays
        values = [firsts[key] for key in places]
    places[_NONE] = ABSENT
    return values, list(map(places.__getitem__, keys))


def _keys(column: Sequence[Any]) -> Sequence[Any]:
    """What equal values share; 1, 1.0 and true are three values."""
    kinds = set(map(type, column)) - {type(_NONE), NoneType}
    if len(kinds) <= 1 and not kinds & {dict, list}:
        return column
    # Records share equal parts, so most of them are looked at once.
    parts = {id(value): value for value in column if isinstance(value, dict | list)}
    digests = {place: _digest(part) for place, part in parts.items()}
    return [v if v is _NONE else digests.get(id(v)) or (type(v), v) for v in column]


def _digest(value: Any) -> bytes:
    # A hundred thousand texts would fill the memory.
    return hashlib.blake2b(orjson.dumps(value, option=_SORTED), digest_size=16).digest()

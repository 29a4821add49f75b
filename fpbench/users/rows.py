"""What a registry hands out, and how a row is digested."""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from fpbench.api import SpecError, canonical_json

Bools = NDArray[np.bool_]

_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NAME_BYTES = 200  # so that a name with an ending is a file name everywhere
_JOINERS = "\u200c\u200d"  # not printable by themselves, but part of Persian and Indic names


@dataclass(frozen=True)
class Model:
    """One trained method whose copies have users.

    Attributes:
        name: what it is called in the registry.
        bits: K, the length of its codes.
        facts: what else is known of it: plain values, bytes, arrays.
        created_at: when it was entered, UTC.
        identity: its number within the registry.
    """

    name: str
    bits: int
    facts: Mapping[str, Any]
    created_at: datetime
    identity: int


@dataclass(frozen=True)
class Issued:
    """A code that was just given to a user; a secret of the owner.

    Attributes:
        user: his name as it is kept.
        code: `(K,)` bool; not in the repr.
        number: its place among the model's codes.
        issued_at: UTC.
    """

    user: str
    code: Bools
    number: int
    issued_at: datetime

    def __repr__(self) -> str:
        return f"Issued(user={self.user!r}, number={self.number}, issued_at={self.issued_at})"


@dataclass(frozen=True)
class Owner:
    """Whose a code is or was.

    Attributes:
        model: name of the model.
        number: its place among the model's codes.
        user: who got it.
        status: "active", "revoked" or "rotated".
        issued_at: UTC.
        changed_at: when it was revoked or rotated, UTC; None while it is active.
        reason: why it was revoked or rotated.
    """

    model: str
    number: int
    user: str
    status: str
    issued_at: datetime
    changed_at: datetime | None
    reason: str


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        added: users who got a code.
        present: lines whose users had one before.
    """

    added: int
    present: int


def name_of(text: str, what: str) -> str:
    """A name as it is kept: composed Unicode, fit to be a file's name.

    Raises:
        SpecError: it is empty, longer than 200 bytes, begins with a dot, or has spaces at its ends,
            path separators, control or other invisible characters.
    """
    name = text if text.isascii() else unicodedata.normalize("NFC", text)
    fault = (
        "is empty"
        if not name
        else "has characters that cannot be printed"
        if not _is_printable(name)
        else "has a path separator"
        if "/" in name or "\\" in name
        else "begins with a dot"
        if name[0] == "."
        else "begins or ends with a space"
        if name != name.strip()
        else f"is longer than {_NAME_BYTES} bytes"
        if len(name.encode()) > _NAME_BYTES
        else ""
    )
    if fault:
        raise SpecError(
            [
                f"{what}: expected up to {_NAME_BYTES} bytes of printable text without path "
                f"separators, got {name[:60]!a}, which {fault}"
            ]
        )
    return name


def reason_of(text: str) -> str:
    """A reason as it is kept.

    Raises:
        SpecError: it has control characters, or more than 1,000 characters.
    """
    reason = unicodedata.normalize("NFC", text)
    if len(reason) > 1000 or not _is_printable(reason):
        text = "expected one line of up to 1,000 printable characters, got something else"
        raise SpecError([f"reason: {text}"])
    return reason


def _is_printable(text: str) -> bool:
    return text.isprintable() or all(c.isprintable() or c in _JOINERS for c in text)


def moment(stamp: int) -> datetime:
    """The time of a stamp in microseconds since 1970."""
    return _START + timedelta(microseconds=stamp)


def now() -> int:
    """Microseconds since 1970, UTC."""
    return (datetime.now(UTC) - _START) // _MICROSECOND


def code_digest(
    model: int,
    number: int,
    user: str,
    code: bytes,
    status: str,
    issued_at: int,
    changed_at: int | None,
    reason: str,
) -> bytes:
    """32 bytes of SHA-256 over all that a row of `code` says."""
    row = (model, number, user, code.hex(), status, issued_at, changed_at, reason)
    return hashlib.sha256(orjson.dumps(row)).digest()


def model_digest(identity: int, name: str, bits: int, facts: str, created_at: int) -> bytes:
    """32 bytes of SHA-256 over all that a row of `model` says."""
    row = (identity, name, bits, facts, created_at)
    return hashlib.sha256(orjson.dumps(row)).digest()


def packed(code: Bools) -> bytes:
    """A code as it is kept: the first bit is the highest of the first byte, the rest is zeros."""
    return np.packbits(code).tobytes()


def unpacked(code: bytes, bits: int) -> Bools:
    """(K,) bool of a code as it is kept."""
    return np.unpackbits(np.frombuffer(code, np.uint8), count=bits).astype(bool)


def facts_text(facts: Mapping[str, Any]) -> str:
    """Canonical JSON of a model's facts; bytes and arrays in base64.

    Raises:
        SpecError: a value has no such form.
    """
    try:
        return canonical_json(_plain(facts))
    except (TypeError, ValueError) as error:
        text = f"expected plain values, bytes and arrays as a model's facts, got {error}"
        raise SpecError([f"registry: {text}"]) from error


def facts_of(text: str) -> dict[str, Any]:
    """The facts of `facts_text`."""
    made: dict[str, Any] = _rich(json.loads(text))
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"an array of {value.dtype}")
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"$array": [value.dtype.str, list(value.shape), data]}
    if isinstance(value, Mapping):
        if any(str(key).startswith("$") for key in value):
            raise ValueError(f"names that begin with '$' among {', '.join(map(str, value))}")
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _rich(value: Any) -> Any:
    if isinstance(value, list):
        return [_rich(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "$bytes" in value:
        return base64.b64decode(value["$bytes"])
    if "$array" in value:
        dtype, shape, data = value["$array"]
        return np.frombuffer(base64.b64decode(data), np.dtype(dtype)).reshape(shape).copy()
    return {key: _rich(each) for key, each in value.items()}

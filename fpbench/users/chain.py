"""The log whose entries chain by hash, and the audit that holds rows against it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from fpbench.api import SpecError, StoreError
from fpbench.users import bulk
from fpbench.users.rows import code_digest, model_digest
from fpbench.users.schema import ACTIVE, CODE, LOG, MODEL, REVOKED, ROTATED

ENTERED, ISSUED = "model", "issue"
"""Actions that make a row; the others are called as the status they lead to."""

NO_NUMBER = -1
_START = bytes(32)
_AT_ONCE = 10_000


class Step(NamedTuple):
    """What is to be entered: an action and the digest of the row after it."""

    action: str
    model_id: int
    number: int
    digest: bytes


class Head(NamedTuple):
    """The end of the chain; (0, zeros) of an empty one."""

    seq: int
    hash: bytes


def head(connection: sa.Connection) -> Head:
    """The last entry."""
    last = sa.select(LOG.c.seq, LOG.c.hash).order_by(LOG.c.seq.desc()).limit(1)
    row = connection.execute(last).first()
    return Head(row.seq, row.hash) if row else Head(0, _START)


def enter(connection: sa.Connection, at: int, steps: Iterable[Step]) -> Head:
    """Append one entry for each step; the new head. The caller's transaction is the only writer."""
    seq, last = head(connection)
    entries: list[tuple[Any, ...]] = []
    for step in steps:
        seq += 1
        last = _hash(last, seq, at, *step)
        entries.append((seq, at, *step, last))
    bulk.insert(connection, LOG, entries)
    return Head(seq, last)


def _hash(
    before: bytes, seq: int, at: int, action: str, model_id: int, number: int, digest: bytes
) -> bytes:
    said = f"{seq}|{at}|{action}|{model_id}|{number}|".encode()
    return hashlib.sha256(before + said + digest).digest()


@dataclass
class _Seen:
    """What an audit remembers: little, since most codes are issued once and stay."""

    issued: dict[int, int] = field(default_factory=dict)  # model -> how many codes
    changed: set[tuple[int, int]] = field(default_factory=set)
    noted: bool = False


def audited(connection: sa.Connection, name: str, noted: str | None = None) -> str:
    """The head of the chain in hexadecimal digits, once everything was found to agree.

    Args:
        connection: of one consistent view.
        name: of the registry, for messages.
        noted: a head that was written down earlier, elsewhere; it must be in the chain.

    Raises:
        SpecError: `noted` is no hash.
        StoreError: an entry or a row was changed, removed or added by somebody else; names the
            first.
    """
    if noted is not None and not _is_hash(noted):
        raise SpecError([f"audit: expected a head of 64 hexadecimal digits, got {noted[:80]!r}"])
    seen, seq, last = _Seen(noted=noted in (None, _START.hex())), 0, _START
    for row in _entries(connection):
        seq += 1
        if row.seq != seq:
            raise _broken(name, f"log entry {seq}", f"the chain goes on at {row.seq}")
        if row.hash != _hash(last, seq, row.at, row.action, row.model_id, row.number, row.digest):
            raise _broken(name, f"log entry {seq}", "its hash is another")
        last = row.hash
        fault = _fault(row, seen)
        if fault:
            raise _broken(name, f"log entry {seq} ({_what(row)})", fault)
        seen.noted = seen.noted or noted == last.hex()
    _check_rest(connection, name, seen)
    if not seen.noted:
        raise _broken(name, f"the head {noted}", f"it is not among the {seq} entries of the chain")
    return last.hex()


def _is_hash(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _entries(connection: sa.Connection) -> Iterator[Any]:
    """The log in order, each entry beside the row that it is about."""
    about = (CODE.c.model_id == LOG.c.model_id) & (CODE.c.number == LOG.c.number)
    joined = sa.select(
        LOG,
        CODE.c.user_name,
        CODE.c.code,
        CODE.c.status,
        CODE.c.issued_at,
        CODE.c.changed_at,
        CODE.c.reason,
        MODEL.c.name,
        MODEL.c.bits,
        MODEL.c.facts,
        MODEL.c.created_at,
    ).select_from(
        LOG.outerjoin(CODE, about).outerjoin(
            MODEL, (MODEL.c.id == LOG.c.model_id) & (LOG.c.action == ENTERED)
        )
    )
    ordered = joined.order_by(LOG.c.seq).execution_options(yield_per=_AT_ONCE)
    yield from connection.execute(ordered)


def _fault(row: Any, seen: _Seen) -> str:
    """What does not agree between an entry and its row; empty if nothing."""
    if row.action == ENTERED:
        if row.bits is None:
            return "the model is gone"
        seen.issued[row.model_id] = 0
        said = model_digest(row.model_id, row.name, row.bits, row.facts, row.created_at)
        return "" if said == row.digest else "the row says something else"
    if row.status is None:
        return "the row is gone"
    if row.action == ISSUED:
        if row.number != seen.issued.get(row.model_id):
            return "it is not the next number of its model"
        seen.issued[row.model_id] += 1
        said = _digest(row, ACTIVE, None, "")
    elif row.action in (REVOKED, ROTATED):
        seen.changed.add((row.model_id, row.number))
        said = _digest(row, row.status, row.changed_at, row.reason)
    else:
        return "there is no such action"
    return "" if said == row.digest else "the row says something else"


def _digest(row: Any, status: str, changed_at: int | None, reason: str) -> bytes:
    return code_digest(
        row.model_id, row.number, row.user_name, row.code, status, row.issued_at, changed_at, reason
    )


def _check_rest(connection: sa.Connection, name: str, seen: _Seen) -> None:
    """Rows that no entry tells of."""
    models = set(connection.scalars(sa.select(MODEL.c.id)))
    for stray in sorted(models - seen.issued.keys()):
        raise _broken(name, f"model {stray}", "no log entry tells of it")
    for model, count in seen.issued.items():
        beyond = sa.select(CODE.c.number).where(CODE.c.model_id == model)
        outside = beyond.where((CODE.c.number >= count) | (CODE.c.number < 0)).limit(1)
        number = connection.scalar(outside.order_by(CODE.c.number))
        if number is not None:
            raise _broken(name, f"code {number} of model {model}", "no log entry tells of it")
    ended = sa.select(CODE.c.model_id, CODE.c.number, CODE.c.status, CODE.c.changed_at).where(
        (CODE.c.status != ACTIVE) | CODE.c.changed_at.is_not(None) | (CODE.c.reason != "")
    )
    ordered = ended.order_by(CODE.c.model_id, CODE.c.number)
    for row in connection.execute(ordered.execution_options(yield_per=_AT_ONCE)):
        if (row.model_id, row.number) not in seen.changed:
            what = f"code {row.number} of model {row.model_id}"
            raise _broken(name, what, f"no log entry tells that it is {row.status}")


def _what(row: Any) -> str:
    where = f"model {row.model_id}"
    return f"{row.action} {row.number} of {where}" if row.number != NO_NUMBER else where


def _broken(name: str, what: str, why: str) -> StoreError:
    return StoreError(
        f"registry {name}: expected rows and log as fpbench wrote them, got {what}: {why}; nothing "
        "in it is evidence until it is restored from a copy whose audit gives the head you noted",
        path=name,
    )

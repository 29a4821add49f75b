"""What is written: models, codes, revocations. Every function runs within one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from fpbench.api import SpecError
from fpbench.api.errors import nearest
from fpbench.users import bulk
from fpbench.users.chain import ENTERED, ISSUED, NO_NUMBER, Step, enter
from fpbench.users.codes import Draw, Near, drawn
from fpbench.users.rows import (
    Issued,
    Model,
    code_digest,
    facts_of,
    facts_text,
    model_digest,
    moment,
    name_of,
    now,
    reason_of,
    unpacked,
)
from fpbench.users.schema import ACTIVE, CODE, CURRENT, MODEL, REVOKED, ROTATED


class Wanted(NamedTuple):
    """A user who is to have a code: the one that is given, else a new one."""

    user: str
    code: bytes | None


def model_of(connection: sa.Connection, name: str) -> Model:
    """The model of that name.

    Raises:
        SpecError: there is none.
    """
    row = connection.execute(sa.select(MODEL).where(MODEL.c.name == name_of(name, "model"))).first()
    if row is None:
        known = connection.scalars(sa.select(MODEL.c.name).order_by(MODEL.c.name).limit(20))
        end = nearest(name, known) or "; the registry is empty: add a model first"
        raise SpecError([f"registry: expected a model that it holds, got '{name}'{end}"])
    return _model(row)


def models_of(connection: sa.Connection) -> list[Model]:
    """All models, in the order in which they were entered."""
    return [_model(row) for row in connection.execute(sa.select(MODEL).order_by(MODEL.c.id))]


def _model(row: Any) -> Model:
    return Model(row.name, row.bits, facts_of(row.facts), moment(row.created_at), row.id)


def enter_model(connection: sa.Connection, name: str, facts: Mapping[str, Any]) -> Model:
    """Enter a model; again with the same facts changes nothing.

    Raises:
        SpecError: it is there with other facts, or `facts["bits"]` is no length of a code; 0 is
            that of a method that knows its users by their numbers alone.
    """
    kept, text, bits = name_of(name, "model"), facts_text(facts), facts.get("bits")
    if type(bits) is not int or bits < 0:
        raise SpecError([f"model {kept}: expected facts with bits, 0 or more, got {bits!r}"])
    old = connection.execute(sa.select(MODEL).where(MODEL.c.name == kept)).first()
    if old is not None:
        if old.facts == text:
            return _model(old)
        text = "expected the facts that the registry holds of it, got others"
        raise SpecError([f"model {kept}: {text}; enter what was trained anew under another name"])
    identity = (connection.scalar(sa.select(sa.func.max(MODEL.c.id))) or 0) + 1
    at = now()
    row = {"id": identity, "name": kept, "bits": bits, "facts": text, "created_at": at}
    connection.execute(sa.insert(MODEL), [row])
    said = model_digest(identity, kept, bits, text, at)
    enter(connection, at, [Step(ENTERED, identity, NO_NUMBER, said)])
    return Model(kept, bits, facts_of(text), moment(at), identity)


def issue(
    connection: sa.Connection, model: Model, user: str, draw: Draw | None, near: Near | None
) -> Issued:
    """Give a user of a model a first code.

    Raises:
        SpecError: he has or had one.
    """
    user = name_of(user, "user")
    row = _current(connection, model, user)
    if row is not None:
        raise SpecError(
            [
                f"user {user}: expected one who has no code of model {model.name}, got one who has "
                "it already; rotate gives him another (`fpbench users add --rotate`)"
                if row.status == ACTIVE
                else f"user {user}: expected one who may have a code of model {model.name}, got "
                "one who was revoked; what he is given now needs another name"
            ]
        )
    return _give(connection, model, user, draw, near)


def rotate(
    connection: sa.Connection, model: Model, user: str, draw: Draw | None, near: Near | None
) -> Issued:
    """Give a user a new code; the old one stays traceable.

    Raises:
        SpecError: he has none.
    """
    row = _active(connection, model, user)
    # The new one first: it must differ from the old one, which is in the table either way.
    _end(connection, model, row, ROTATED, "a new code was given")
    return _give(connection, model, row.user_name, draw, near)


def revoke(connection: sa.Connection, model: Model, user: str, reason: str) -> None:
    """Say that a user's code is no longer his to use; it stays traceable.

    Raises:
        SpecError: he has none.
    """
    _end(connection, model, _active(connection, model, user), REVOKED, reason_of(reason))


def _active(connection: sa.Connection, model: Model, user: str) -> Any:
    kept = name_of(user, "user")
    row = _current(connection, model, kept)
    if row is None or row.status != ACTIVE:
        got = "one who has none" if row is None else "one who was revoked"
        where = f"`fpbench users show {'REGISTRY' if row is None else 'REGISTRY USER'}`"
        text = f"expected one who has a code of model {model.name}, got {got}; {where} tells more"
        raise SpecError([f"user {kept}: {text}"])
    return row


def _current(connection: sa.Connection, model: Model, user: str) -> Any:
    own = (CODE.c.model_id == model.identity) & (CODE.c.user_name == user) & CURRENT
    return connection.execute(sa.select(CODE).where(own)).first()


def _end(connection: sa.Connection, model: Model, row: Any, status: str, reason: str) -> None:
    at = now()
    own = (CODE.c.model_id == model.identity) & (CODE.c.number == row.number)
    changed = {"status": status, "changed_at": at, "reason": reason}
    connection.execute(sa.update(CODE).where(own).values(changed))
    said = code_digest(
        model.identity, row.number, row.user_name, row.code, status, row.issued_at, at, reason
    )
    enter(connection, at, [Step(status, model.identity, row.number, said)])


def _give(
    connection: sa.Connection, model: Model, user: str, draw: Draw | None, near: Near | None
) -> Issued:
    (code,) = _fresh(
        connection, model, 1, draw, lambda codes: taken(connection, model, codes), near
    )
    number, at = add(connection, model, [(user, code)])
    return Issued(user, unpacked(code, model.bits), number, moment(at))


def _fresh(
    connection: sa.Connection,
    model: Model,
    wanted: int,
    draw: Draw | None,
    gone: Callable[[list[bytes]], Collection[bytes]],
    near: Near | None = None,
) -> list[bytes]:
    """Codes that nobody was ever given; where a model has none, the numbers that come next."""
    if model.bits:
        return drawn(wanted, model.bits, draw, gone, near)
    first = count(connection, model)
    return [number.to_bytes(8, "big") for number in range(first, first + wanted)]


def taken(connection: sa.Connection, model: Model, codes: Sequence[bytes]) -> Collection[bytes]:
    """Which of these codes were ever issued."""
    ours = sa.select(CODE.c.code).where(CODE.c.model_id == model.identity)
    return {row.code for row in bulk.among(connection, ours, CODE.c.code, codes)}


def holders(connection: sa.Connection, model: Model, users: Sequence[str]) -> dict[str, bytes]:
    """The current codes of those of these users who have one, packed."""
    ours = sa.select(CODE.c.user_name, CODE.c.code).where(
        CODE.c.model_id == model.identity, CURRENT
    )
    found = bulk.among(connection, ours, CODE.c.user_name, users)
    return {row.user_name: row.code for row in found}


def count(connection: sa.Connection, model: Model) -> int:
    """N: all codes that were ever issued, revoked and rotated ones too."""
    last = sa.select(sa.func.max(CODE.c.number)).where(CODE.c.model_id == model.identity)
    found = connection.scalar(last)
    return 0 if found is None else int(found) + 1


def add(
    connection: sa.Connection, model: Model, pairs: Sequence[tuple[str, bytes]]
) -> tuple[int, int]:
    """Write (user, code) that were checked; the number of the first, and the time."""
    first, at, own = count(connection, model), now(), model.identity
    numbered = list(enumerate(pairs, start=first))
    rows = [(own, n, user, code, ACTIVE, at, None, "") for n, (user, code) in numbered]
    bulk.insert(connection, CODE, rows)
    enter(connection, at, [Step(ISSUED, own, row[1], code_digest(*row)) for row in rows])
    return first, at


def take_in(
    connection: sa.Connection, model: Model, wanted: Sequence[Wanted], draw: Draw | None
) -> int:
    """Give those who have no code one, in the order given; how many did.

    Raises:
        SpecError: a user has another code than the one given, or a code is another user's.
    """
    has = holders(connection, model, [each.user for each in wanted])
    new: dict[str, bytes | None] = {}
    for user, code in wanted:
        known = has.get(user, new.get(user))
        if code is not None and known is not None and code != known:
            text = f"got another code than the one he has of model {model.name}"
            raise SpecError([f"user {user}: {text}; revoke it, or leave the line out"])
        if user not in has and new.get(user) is None:
            new[user] = code
    _refuse_doubles(connection, model, new)
    given = {code for code in new.values() if code is not None}
    lacking = sum(code is None for code in new.values())

    def gone(codes: list[bytes]) -> Collection[bytes]:
        return {*taken(connection, model, codes), *given}

    fresh = iter(_fresh(connection, model, lacking, draw, gone) if lacking else ())
    pairs = [(user, next(fresh) if code is None else code) for user, code in new.items()]
    if pairs:
        add(connection, model, pairs)
    return len(pairs)


def _refuse_doubles(
    connection: sa.Connection, model: Model, new: Mapping[str, bytes | None]
) -> None:
    owners: dict[bytes, str] = {}
    for user, code in new.items():
        if code is not None and owners.setdefault(code, user) != user:
            raise _double(user, owners[code])
    if owners and (old := taken(connection, model, list(owners))):
        code = min(old)
        whose = (CODE.c.model_id == model.identity) & (CODE.c.code == code)
        raise _double(
            owners[code], str(connection.scalar(sa.select(CODE.c.user_name).where(whose)))
        )


def _double(user: str, other: str) -> SpecError:
    text = f"expected a code that nobody else was given, got that of {other}"
    return SpecError([f"user {user}: {text}; nothing of this part of the file was taken"])

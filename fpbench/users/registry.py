"""`Registry`: who holds which code of which model, in one file or on a server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np
import sqlalchemy as sa

from fpbench.api import SpecError
from fpbench.users import bulk, chain, issuing, sql, tables
from fpbench.users.cache import CodeCache
from fpbench.users.codes import Draw, Near
from fpbench.users.database import Database
from fpbench.users.rows import Imported, Issued, Model, Owner, moment, name_of, unpacked
from fpbench.users.schema import CODE, CURRENT, FORMER
from fpbench.users.search import Found, above

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 20_000
_ROWS_AT_ONCE = 10_000


class Registry:
    """Users, models and codes; every change is one transaction with its entry in the log.

    Several processes may have it open and write; threads each open it for themselves.

        with Registry.open("users.db", create=True) as registry:
            registry.add_model("faces", {"bits": 128})
            issued = registry.issue("faces", "acme")

    Args:
        database: where it lies.
        cache: folder for the codes as flat files.
        passing: whether that folder goes when the registry is closed.
    """

    def __init__(self, database: Database, cache: Path, *, passing: bool = False) -> None:
        self._database = database
        self._folder = cache
        self._passing = passing
        self._cache = CodeCache(cache)

    @classmethod
    def open(cls, place: str | Path, *, create: bool = False, cache: Path | None = None) -> Self:
        """Open a registry.

        Args:
            place: a file (SQLite), or `postgresql://…`.
            create: make it where there is none, or bring an older one up to date.
            cache: folder for the codes as flat files; None = beside the file, or for a server a
                temporary one that goes when the registry is closed.

        Raises:
            SpecError: there is no such place.
            StoreError: it is no registry, of an older schema, damaged, or others may read it.
            MissingResource: it is of a newer schema, or its server or a package is not there.
        """
        database = Database(place, create=create)
        if cache is not None:
            return cls(database, cache)
        if database.path is not None:
            return cls(database, database.path.with_name(f"{database.path.name}.codes"))
        return cls(database, Path(tempfile.mkdtemp(prefix="fpbench-codes-")), passing=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it; what was written stays."""
        self._database.close()
        if self._passing:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def name(self) -> str:
        """Where it lies, without a password."""
        return self._database.name

    # -- models --------------------------------------------------------------------------------

    def add_model(self, name: str, facts: Mapping[str, Any]) -> Model:
        """Enter a trained method whose codes have `facts["bits"]` bits.

        0 bits are those of a method that knows its users by their numbers alone.

        Once more with the same facts changes nothing.

        Args:
            name: what it is called.
            facts: plain values, bytes and numpy arrays, nested in tables and lists.

        Raises:
            SpecError: it is there with other facts, or these have no number of bits.
        """
        with self._database.writing() as connection:
            return issuing.enter_model(connection, name, facts)

    def model(self, name: str) -> Model:
        """The model of that name.

        Raises:
            SpecError: there is none; names the nearest.
        """
        with self._database.reading() as connection:
            return issuing.model_of(connection, name)

    def models(self) -> list[Model]:
        """All models, in the order in which they were entered."""
        with self._database.reading() as connection:
            return issuing.models_of(connection)

    def count(self, model: str) -> int:
        """N: all codes of the model that were ever issued, revoked and rotated ones too."""
        with self._database.reading() as connection:
            return issuing.count(connection, issuing.model_of(connection, model))

    def census(self, model: str) -> dict[str, int]:
        """How many codes of the model there are of each status."""
        with self._database.reading() as connection:
            own = CODE.c.model_id == issuing.model_of(connection, model).identity
            each = sa.select(CODE.c.status, sa.func.count()).where(own).group_by(CODE.c.status)
            return {
                str(status): int(n) for status, n in sorted(map(tuple, connection.execute(each)))
            }

    # -- changes -------------------------------------------------------------------------------

    def issue(
        self, model: str, user: str, *, draw: Draw | None = None, min_distance: int = 0
    ) -> Issued:
        """Give a user a code that nobody was ever given, and that no training ever saw.

        Args:
            model: its name.
            user: his name.
            draw: codes of a kind; None = independent fair bits of the operating system. Of what it
                gives, codes of the reserved eighth of the code space are taken.
            min_distance: in how many bits it must differ from every other code at least.

        Raises:
            SpecError: he has a code (`rotate` gives another), was revoked, or none is left.
        """
        with self._database.writing() as connection:
            found = issuing.model_of(connection, model)
            near = self._near(connection, found, min_distance)
            return issuing.issue(connection, found, user, draw, near)

    def rotate(
        self, model: str, user: str, *, draw: Draw | None = None, min_distance: int = 0
    ) -> Issued:
        """Give a user a new code; the old one is kept as "rotated" and stays traceable.

        Args:
            model: its name.
            user: his name.
            draw: as in `issue`.
            min_distance: as in `issue`.

        Raises:
            SpecError: he has none, or none is left.
        """
        with self._database.writing() as connection:
            found = issuing.model_of(connection, model)
            near = self._near(connection, found, min_distance)
            return issuing.rotate(connection, found, user, draw, near)

    def revoke(self, model: str, user: str, reason: str) -> None:
        """Mark a user's code as revoked; it stays traceable, and he gets no other.

        Raises:
            SpecError: he has none, or was revoked before.
        """
        with self._database.writing() as connection:
            issuing.revoke(connection, issuing.model_of(connection, model), user, reason)

    def import_users(
        self, model: str, rows: Iterable[str], *, draw: Draw | None = None, chunk: int = _CHUNK
    ) -> Imported:
        """Give codes to the users of a CSV: a column `user`, and `code` where they have one.

        Read and written in chunks, each in one transaction. Users who have a code keep it, so that
        the same command again goes on where another was stopped. Codes that are given need not be
        of the reserved eighth: a training may have seen them.

        Args:
            model: its name.
            rows: lines of the CSV, such as an open file.
            draw: as in `issue`.
            chunk: lines in a transaction.

        Raises:
            SpecError: a line is wrong, or its code is another user's; names it. Chunks before it
                are kept.
        """
        found, added, present = self.model(model), 0, 0
        wanted = tables.read(rows, found.bits)
        while some := list(islice(wanted, chunk)):
            with self._database.writing() as connection:
                new = issuing.take_in(connection, found, some, draw)
            added, present = added + new, present + len(some) - new
        return Imported(added, present)

    def _near(self, connection: sa.Connection, model: Model, least: int) -> Near | None:
        if not 0 <= least <= model.bits:
            text = f"expected a least distance in 0 to {model.bits} bits, got {least}"
            raise SpecError([f"model {model.name}: {text}"])
        if least < 2:
            return None  # no two codes are the same anyway
        codes = self._cache.codes(connection, model)
        most = model.bits - least + 1
        return lambda code: len(above(codes, code[None], most).number) > 0

    # -- questions -----------------------------------------------------------------------------

    def codes(self, model: str) -> tuple[NDArray[np.uint8], range]:
        """All codes of a model that were ever issued, and their numbers.

        Returns:
            `(N, ceil(K/8))` uint8, packed, mapped and read-only, for `nearest` and `above`; and the
            numbers of its rows, which are 0 to N - 1. Whoever is accused by it is to be checked
            by `code`: it asks the database, which an audit can vouch for.
        """
        found = self.model(model)
        with self._database.reading() as connection:
            packed = self._cache.codes(connection, found)
        return packed, range(len(packed))

    def nearest_in_database(self, model: str, readings: NDArray[np.bool_], k: int = 1) -> Found:
        """As `fpbench.users.nearest`, but by the PostgreSQL server that keeps the registry.

        Raises:
            SpecError: it lies in a file, or K is another.
        """
        if not self._database.is_postgresql:
            raise SpecError([f"registry {self.name}: expected one on PostgreSQL, got a file"])
        with self._database.reading() as connection:
            return sql.nearest(connection, issuing.model_of(connection, model), readings, k)

    def owner(self, model: str, number: int) -> Owner:
        """Whose a code is or was.

        Raises:
            SpecError: no code has that number.
        """
        with self._database.reading() as connection:
            found = issuing.model_of(connection, model)
            return _owner(model, self._row(connection, found, number))

    def owners(self, model: str, numbers: Iterable[int]) -> dict[int, tuple[Owner, bytes]]:
        """Whose these codes are or were, and the codes themselves, packed, from the database.

        Numbers that no code has are left out.
        """
        with self._database.reading() as connection:
            found = issuing.model_of(connection, model)
            own = sa.select(CODE).where(CODE.c.model_id == found.identity)
            wanted = sorted({int(number) for number in numbers})
            rows = bulk.among(connection, own, CODE.c.number, wanted)
            return {row.number: (_owner(model, row), bytes(row.code)) for row in rows}

    def code(self, model: str, number: int) -> NDArray[np.bool_]:
        """`(K,)` bool: the code itself, from the database; a secret of the owner.

        Raises:
            SpecError: no code has that number.
        """
        with self._database.reading() as connection:
            found = issuing.model_of(connection, model)
            return unpacked(self._row(connection, found, number).code, found.bits)

    def of_user(self, user: str) -> list[Owner]:
        """All that a user was ever given, by model and number; empty if nothing."""
        kept = name_of(user, "user")
        with self._database.reading() as connection:
            found: list[Owner] = []
            for model in issuing.models_of(connection):
                own = (CODE.c.model_id == model.identity) & (CODE.c.user_name == kept)
                rows = [
                    row
                    for part in (CURRENT, FORMER)
                    for row in connection.execute(sa.select(CODE).where(own, part))
                ]
                found += [_owner(model.name, row) for row in sorted(rows, key=lambda r: r.number)]
            return found

    def export(self, model: str, file: IO[str], *, codes: bool = False) -> int:
        """Write a model's users as CSV, by number; how many rows.

        Text that a spreadsheet would compute with gets an apostrophe in front.

        Args:
            model: its name.
            file: where to, opened for text.
            codes: write the codes, too: whoever reads them can frame any user.
        """
        with self._database.reading() as connection:
            found = issuing.model_of(connection, model)
            rows, codes = _streamed(connection, found), codes and found.bits > 0
            return tables.write(file, (_cells(row, codes=codes) for row in rows), codes=codes)

    def head(self) -> str:
        """The head of the log as it stands, unchecked: 64 hexadecimal digits; see `audit`."""
        with self._database.reading() as connection:
            return chain.head(connection).hash.hex()

    def audit(self, noted: str | None = None) -> str:
        """Check the chain of the log, every row against it, and the flat files against the rows.

        Args:
            noted: a head that was written down after an earlier audit. It shows what nothing
                inside can: that the end of the log was not cut off, or all of it written anew.

        Returns:
            The head: 64 hexadecimal digits that stand for all that the registry holds.

        Raises:
            StoreError: something was changed; names the first entry or row.
        """
        with self._database.reading() as connection:
            head = chain.audited(connection, self.name, noted)
            for model in issuing.models_of(connection):
                self._cache.check(connection, model)
        return head

    def _row(self, connection: sa.Connection, model: Model, number: int) -> Any:
        own = (CODE.c.model_id == model.identity) & (CODE.c.number == int(number))
        row = connection.execute(sa.select(CODE).where(own)).first()
        if row is None:
            count = issuing.count(connection, model)
            text = f"expected the number of a code, 0 to {count - 1}, got {number}"
            raise SpecError(
                [f"model {model.name}: {text if count else 'no code of it was issued yet'}"]
            )
        return row


def _owner(model: str, row: Any) -> Owner:
    changed = None if row.changed_at is None else moment(row.changed_at)
    return Owner(
        model, row.number, row.user_name, row.status, moment(row.issued_at), changed, row.reason
    )


def _streamed(connection: sa.Connection, model: Model) -> Iterator[Any]:
    own = sa.select(CODE).where(CODE.c.model_id == model.identity).order_by(CODE.c.number)
    yield from connection.execute(own.execution_options(yield_per=_ROWS_AT_ONCE))


def _cells(row: Any, *, codes: bool) -> list[object]:
    changed = "" if row.changed_at is None else moment(row.changed_at).isoformat()
    issued = moment(row.issued_at).isoformat()
    cells = [row.user_name, row.number, row.status, issued, changed, row.reason]
    return [*cells, tables.code_text(row.code)] if codes else cells

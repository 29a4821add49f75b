"""The codes of a model as one flat file that searches map: `codes` rows, packed, by number.

    <folder>/<model>.json          which file, how many rows, and the log entry that they go up to
    <folder>/<model>-<token>.codes rows of ceil(K/8) bytes

Codes are only ever appended, so a file stays good for as long as the log still holds the entry that
it was made at; else, e.g. after an older database was put back, it is made anew.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from fpbench.api import StoreError, canonical_json
from fpbench.store.objects import disk_errors
from fpbench.users.chain import head
from fpbench.users.issuing import count
from fpbench.users.rows import Model
from fpbench.users.schema import CODE, LOG

_AT_ONCE = 50_000
_MODE = 0o600


class _Note(NamedTuple):
    """What is known of a file."""

    file: str
    rows: int
    seq: int
    hash: str


class CodeCache:
    """The flat files of a registry.

    Args:
        folder: where they lie; made when it is needed, for its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def codes(self, connection: sa.Connection, model: Model) -> NDArray[np.uint8]:
        """(N, ceil(K/8)) uint8, mapped and read-only: all codes that the connection sees.

        Raises:
            NoSpace: the disk is full.
            StoreError: the codes in the database are no codes of the model.
        """
        # Read before anything of the database is: what it tells of is committed then.
        told = self._told(model)
        width, rows = -(-model.bits // 8), count(connection, model)
        if rows == 0 or width == 0:
            return np.zeros((rows, width), np.uint8)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        note = self._true(connection, model, width, told)
        if note is None:
            self._forget(model)
            note = _Note(f"{model.identity}-{secrets.token_hex(8)}.codes", 0, 0, "")
        if note.rows < rows:
            note = self._extended(connection, model, note, rows)
        path = self._folder / note.file
        return np.memmap(path, np.uint8, mode="r", shape=(rows, width))

    def check(self, connection: sa.Connection, model: Model) -> None:
        """Compare what is kept with the database.

        Raises:
            StoreError: they differ.
        """
        width = -(-model.bits // 8)
        note = self._true(connection, model, width, self._told(model))
        if note is None or note.rows == 0:
            return
        path = self._folder / note.file
        kept = np.memmap(path, np.uint8, mode="r", shape=(note.rows, width))
        at = 0
        for some in _stored(connection, model, 0, note.rows):
            part = np.frombuffer(some, np.uint8).reshape(-1, width)
            wrong = np.flatnonzero((kept[at : at + len(part)] != part).any(axis=1))
            if len(wrong):
                raise StoreError(
                    f"registry: expected the codes of the database in {path}, got another one as "
                    f"number {at + int(wrong[0])}; delete that file, it will be made anew",
                    path=str(path),
                )
            at += len(part)

    def _told(self, model: Model) -> _Note | None:
        """What is said to be kept of this model."""
        try:
            read = json.loads(self._place(model).read_text(encoding="utf-8"))
            file = Path(str(read["file"])).name
            return _Note(file, int(read["rows"]), int(read["seq"]), str(read["hash"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _true(
        self, connection: sa.Connection, model: Model, width: int, note: _Note | None
    ) -> _Note | None:
        """The same, if it is true of this database."""
        if note is None:
            return None
        try:
            size = (self._folder / note.file).stat().st_size
        except OSError:
            return None
        entry = connection.scalar(sa.select(LOG.c.hash).where(LOG.c.seq == note.seq))
        same = entry is not None and entry.hex() == note.hash
        whole = 0 <= note.rows * width <= size and note.rows <= count(connection, model)
        return note if same and whole else None

    def _extended(self, connection: sa.Connection, model: Model, note: _Note, rows: int) -> _Note:
        """Write the rows that are lacking, then say so: a kill between leaves the old note true.

        Two processes that do this at once write the same bytes to the same place.
        """
        width, path, end = -(-model.bits // 8), self._folder / note.file, head(connection)
        with disk_errors(path):
            handle = os.open(path, os.O_CREAT | os.O_WRONLY, _MODE)
            with os.fdopen(handle, "wb") as file:
                file.seek(note.rows * width)
                for some in _stored(connection, model, note.rows, rows):
                    file.write(some)
                if file.tell() != rows * width:
                    raise StoreError(
                        f"registry: model {model.name}: expected {rows} codes of {model.bits} bits,"
                        f" got {file.tell()} bytes; `fpbench users audit` says which row is wrong"
                    )
                file.flush()
                os.fsync(file.fileno())
            made = note._replace(rows=rows, seq=end.seq, hash=end.hash.hex())
            aside = self._place(model).with_suffix(f".{secrets.token_hex(8)}")
            handle = os.open(aside, os.O_CREAT | os.O_WRONLY | os.O_EXCL, _MODE)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(canonical_json(made._asdict()))
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._place(model))
        return made

    def _forget(self, model: Model) -> None:
        # Who has mapped the old file keeps it until he closes it.
        for path in self._folder.glob(f"{model.identity}-*.codes"):
            with suppress(FileNotFoundError):
                path.unlink()

    def _place(self, model: Model) -> Path:
        return self._folder / f"{model.identity}.json"


def _stored(connection: sa.Connection, model: Model, first: int, end: int) -> Iterator[bytes]:
    """Codes one behind the other, in parts."""
    ours = sa.select(CODE.c.code).where(
        CODE.c.model_id == model.identity, CODE.c.number >= first, CODE.c.number < end
    )
    ordered = ours.order_by(CODE.c.number).execution_options(yield_per=_AT_ONCE)
    for some in connection.scalars(ordered).partitions():
        yield b"".join(some)

"""Where a registry lies: opening, versions of its schema, transactions, errors in a sentence."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError

from fpbench.api import MissingResource, SpecError, StoreError
from fpbench.users.schema import LOG

_PATIENCE_S = 120
_PAGES_KIB = 65_536
_MODE = 0o600
_VERSIONS = "alembic_version"


class Database:
    """An open database and its transactions.

    Args:
        place: a path, `sqlite:///PATH` or `postgresql://…`.
        create: make it, or bring an older one up to date.

    Raises:
        SpecError: no such place, or none that a registry can be.
        MissingResource: its driver is absent, it cannot be reached, or fpbench is too old for it.
        StoreError: it is no registry, or others may read its file.
    """

    def __init__(self, place: str | Path, *, create: bool) -> None:
        self.url = _url(place)
        self.path = Path(str(self.url.database)) if self.url.drivername == "sqlite" else None
        self.name = str(self.path or self.url.render_as_string(hide_password=True))
        if self.path:
            self._claim(self.path, create=create)
        self._engine = _engine(self.url, self.name)
        try:
            self._check(create=create)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    @property
    def is_postgresql(self) -> bool:
        """Whether a PostgreSQL server keeps it."""
        return self.path is None

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent view of what is committed."""
        options: dict[str, Any] = {"isolation_level": "REPEATABLE READ"} if not self.path else {}
        with self._errors(), self._engine.connect() as opened:
            connection = opened.execution_options(**options)
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that no other writer overlaps; undone if anything is raised in it."""
        with self._errors(), self._engine.connect() as opened:
            connection = opened.execution_options(writes=True)
            with connection.begin():
                if self.is_postgresql:
                    # Conflicts with itself and with no reader; waits for its turn.
                    connection.execute(sa.text(f"LOCK TABLE {LOG.name} IN EXCLUSIVE MODE"))
                yield connection

    def _claim(self, path: Path, *, create: bool) -> None:
        if not path.exists():
            if not create:
                text = f"expected the file of a registry, got none at {path}"
                raise SpecError([f"registry: {text}; `fpbench users init {path}` makes it"])
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, _MODE))
        mode = stat.S_IMODE(path.stat().st_mode)
        if not path.is_file():
            raise SpecError([f"registry: expected a file, got the folder {path}"])
        if os.name == "posix" and mode & 0o077:
            raise StoreError(
                f"registry {path}: expected a file that its owner alone may read (mode 600), got "
                f"mode {mode:o}; codes are secrets: run chmod 600 on it, and keep it so",
                path=str(path),
            )

    def _check(self, *, create: bool) -> None:
        config = Config()
        config.set_main_option("script_location", "fpbench.users:migrations")
        config.set_main_option("path_separator", "os")
        versions = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
        found = self._version()
        if found is not None and found not in versions:
            raise MissingResource(
                f"registry {self.name}: expected a schema up to {versions[0]}, got the newer "
                f"{found}; update fpbench and run the same command again"
            )
        if found == versions[0]:
            return
        if not create:
            what = f"schema {found}" if found else "a database without its tables"
            raise StoreError(
                f"registry {self.name}: expected schema {versions[0]}, got {what}; "
                f"`fpbench users init {self.name}` brings it up to date"
            )
        with self._errors(), self._engine.connect() as opened:
            connection = opened.execution_options(writes=True)
            with connection.begin():
                if self.is_postgresql:
                    # Two who make the same registry at once; the number is fpbench's own.
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(7012026)"))
                config.attributes["connection"] = connection
                command.upgrade(config, "head")

    def _version(self) -> str | None:
        with self.reading() as connection:
            tables = sa.inspect(connection).get_table_names()
            if _VERSIONS not in tables:
                if tables:
                    raise StoreError(
                        f"registry {self.name}: expected an empty database or a registry, got one "
                        f"with other tables ({', '.join(sorted(tables)[:3])}); name another place"
                    )
                return None
            return MigrationContext.configure(connection).get_current_revision()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:  # the latter while a connection is set up
            said = " ".join(str(getattr(error, "orig", error)).split())
            if isinstance(error, OperationalError) and self.is_postgresql:
                raise MissingResource(
                    f"registry {self.name}: expected a server that answers, got: {said}; start it, "
                    "or check the address and who may connect"
                ) from error
            raise StoreError(
                f"registry {self.name}: expected a database that can be read and written, got: "
                f"{said}; nothing of this step was kept",
                path=str(self.path or ""),
            ) from error
        except SQLAlchemyError as error:
            said = str(error).splitlines()[0]
            raise StoreError(f"registry {self.name}: the database refuses: {said}") from error


def _url(place: str | Path) -> sa.URL:
    text = str(place)
    if "://" not in text:
        return sa.URL.create("sqlite", database=text)
    try:
        url = sa.make_url(text)
    except SQLAlchemyError as error:
        raise SpecError([f"registry: expected a path or postgresql://…, got {text!r}"]) from error
    kind = url.drivername.partition("+")[0]
    if kind == "sqlite" and url.database and url.database != ":memory:":
        return sa.URL.create("sqlite", database=url.database)
    if kind in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    text = f"expected a path or postgresql://…, got {url.render_as_string(hide_password=True)}"
    raise SpecError([f"registry: {text}"])


def _engine(url: sa.URL, name: str) -> sa.Engine:
    try:
        if url.drivername != "sqlite":
            return sa.create_engine(url)
        # A pool of none: a connection is cheap, and a process that was forked inherits nothing.
        engine = sa.create_engine(
            url, connect_args={"timeout": _PATIENCE_S}, poolclass=sa.pool.NullPool
        )
    except (ImportError, NoSuchModuleError) as error:
        raise MissingResource(
            f"registry {name}: PostgreSQL needs psycopg, which cannot be imported here ({error}); "
            "run in fpbench's folder: uv sync --extra postgresql "
            "(or pip install 'fpbench[postgresql]')"
        ) from error
    sa.event.listen(engine, "connect", _set_up)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _set_up(connection: Any, _: object) -> None:
    connection.isolation_level = (
        None  # transactions begin where `_begin` says, not where sqlite3 does
    )
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"cache_size = -{_PAGES_KIB}",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: uv sync --extra registry")
pytest.importorskip("alembic", reason="Alembic is not installed: uv sync --extra registry")


@pytest.fixture
def registry(tmp_path):
    from fpbench.users import Registry

    with Registry.open(tmp_path / "users.db", create=True) as opened:
        opened.add_model("faces", {"bits": 32})
        yield opened


def _programs():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return Path(there).parent if there else None


@pytest.fixture(scope="session")
def server():
    """URL of a PostgreSQL server of this session, on a socket in a folder of its own."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: uv sync --extra postgresql")
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # initdb refuses to run as root, a socket's path has at most 107 characters, and pytest's own
    # folder is closed to other users each time that somebody starts pytest.
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    known = subprocess.run(["id", "postgres"], capture_output=True, check=False).returncode == 0
    if as_user and not known:
        pytest.skip("PostgreSQL needs a user postgres to run as; root may not")
    with tempfile.TemporaryDirectory(prefix="fpbench-pg-", ignore_cleanup_errors=True) as folder:
        if as_user:
            shutil.chown(folder, "postgres")
        yield from _served(Path(folder), programs, as_user)


def _served(place, programs, as_user):
    def call(program, *arguments):
        done = subprocess.run(
            [*as_user, programs / program, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        if done.returncode:
            pytest.skip(f"{program} of PostgreSQL fails here: {done.stderr[-300:]}")

    data = place / "data"
    call("initdb", "-D", data, "-U", "fpbench", "-A", "trust", "-N", "--no-locale", "-E", "UTF8")
    options = f"-c listen_addresses= -c unix_socket_directories={place} -c fsync=off"
    call("pg_ctl", "-D", data, "-w", "-l", place / "log", "-o", options, "start")
    yield f"postgresql:///{{}}?host={place}&user=fpbench"
    call("pg_ctl", "-D", data, "-m", "immediate", "stop")


@pytest.fixture
def postgresql(server, request):
    """URL of an empty database of the test's own."""
    import psycopg

    name = f"test_{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(server.format("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.format(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where a registry may be made, on either engine."""
    if request.param == "sqlite":
        return str(tmp_path / "users.db")
    return request.getfixturevalue("postgresql")

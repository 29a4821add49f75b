import sqlite3
import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from fpbench.api import MissingResource, SpecError, StoreError
from fpbench.users import Registry
from fpbench.users.database import Database
from fpbench.users.schema import METADATA


def test_migrations_make_the_tables_that_the_schema_says(place):
    Registry.open(place, create=True).close()
    database = Database(place, create=False)
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    database.close()


def test_a_registry_of_a_newer_schema_is_left_alone(place):
    Registry.open(place, create=True).close()
    database = Database(place, create=False)
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9001'"))
    database.close()
    for create in (False, True):
        with pytest.raises(MissingResource, match="got the newer 9001; update fpbench"):
            Registry.open(place, create=create)


def test_what_a_kill_left_of_a_new_registry_is_made_whole(tmp_path):
    path = tmp_path / "users.db"
    path.touch(0o600)
    with pytest.raises(StoreError, match="without its tables; `fpbench users init"):
        Registry.open(path)
    Registry.open(path, create=True).close()
    assert Registry.open(path).models() == []


def test_a_registry_is_made_in_one_step(tmp_path, monkeypatch):
    monkeypatch.setattr("fpbench.users.database.command.upgrade", _half)
    with pytest.raises(RuntimeError):
        Registry.open(tmp_path / "users.db", create=True)
    with sqlite3.connect(tmp_path / "users.db") as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


def _half(config, target):
    from alembic import op
    from alembic.operations import Operations

    connection = config.attributes["connection"]
    with Operations.context(MigrationContext.configure(connection)):
        op.create_table("model", sa.Column("id", sa.Integer))
    raise RuntimeError(target)


def test_other_files_are_refused_in_a_sentence(tmp_path):
    with pytest.raises(SpecError, match=r"got none at .*; `fpbench users init"):
        Registry.open(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    junk = tmp_path / "junk"
    junk.write_text("no database at all")
    junk.chmod(0o600)
    with pytest.raises(StoreError, match="file is not a database"):
        Registry.open(junk, create=True)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE music (id)")
    connection.close()
    other.chmod(0o600)
    with pytest.raises(StoreError, match=r"other tables \(music\)"):
        Registry.open(other, create=True)
    with pytest.raises(SpecError, match="got the folder"):
        Registry.open(tmp_path)
    for place in ("mysql://root:secret@host/x", "sqlite://", "://"):
        with pytest.raises(SpecError, match="expected a path or postgresql") as said:
            Registry.open(place)
        assert "secret" not in str(said.value)


def test_a_server_that_does_not_answer_is_named_without_its_password(tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(MissingResource, match="expected a server that answers") as said:
        Registry.open(f"postgresql://user:secret@/name?host={tmp_path}")
    assert "secret" not in str(said.value)


def test_questions_that_have_no_answer_are_refused_in_a_sentence(registry):
    with pytest.raises(SpecError, match="did you mean 'faces'"):
        registry.issue("face", "a")
    with pytest.raises(SpecError, match="no code of it was issued yet"):
        registry.owner("faces", 0)
    assert registry.codes("faces")[0].shape == (0, 4)
    registry.issue("faces", "a")
    for number in (-1, 1, 2**40):
        with pytest.raises(SpecError, match=f"0 to 0, got {number}"):
            registry.code("faces", number)
    with pytest.raises(SpecError, match="who has none"):
        registry.revoke("faces", "nobody", "")
    with pytest.raises(SpecError, match="one line"):
        registry.revoke("faces", "a", "two\nlines")
    with pytest.raises(SpecError, match="least distance in 0 to 32"):
        registry.issue("faces", "b", min_distance=33)
    with pytest.raises(SpecError, match="a model's facts"):
        registry.add_model("odd", {"bits": 3, "what": object()})
    registry.audit()


def test_without_the_extra_all_else_is_there_and_the_error_says_what_to_install():
    program = """
import sys
sys.modules["sqlalchemy"] = None
import fpbench.cli.main, fpbench.cli.users, fpbench.plan, fpbench.stats
try:
    import fpbench.users
except fpbench.api.MissingResource as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "uv sync --extra registry" in done.stdout

import sqlite3

import pytest

from fpbench.api import SpecError, StoreError
from fpbench.users import Registry


@pytest.fixture
def written(registry):
    """Eight log entries: the model, four codes, a rotation (two), a revocation."""
    for user in "abcd":
        registry.issue("faces", user)
    registry.rotate("faces", "b")
    registry.revoke("faces", "c", "left")
    registry.audit()
    return registry


@pytest.fixture
def change(written, tmp_path):
    """Changes the file behind the registry's back, as who can write to it may."""

    def run(statement):
        with sqlite3.connect(tmp_path / "users.db") as connection:
            for trigger in ("log_no_update", "log_no_delete"):
                connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
            assert connection.execute(statement).rowcount >= 1
        connection.close()

    return run


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE code SET user_name = 'mallory' WHERE number = 2", "entry 4 .issue 2 of model 1"),
        ("UPDATE code SET code = x'00000001' WHERE number = 0", "entry 2 .issue 0 of model 1"),
        ("UPDATE code SET issued_at = issued_at - 1 WHERE number = 3", "entry 5 .issue 3"),
        ("UPDATE code SET reason = 'theft' WHERE number = 2", "entry 8 .revoked 2 of model 1"),
        ("UPDATE code SET changed_at = 5 WHERE number = 1", "entry 6 .rotated 1 of model 1"),
        ("UPDATE code SET status = 'active' WHERE number = 2", "entry 8 .revoked 2"),
        ("UPDATE code SET status = 'revoked' WHERE number = 0", "code 0 of model 1: no log entry"),
        ("DELETE FROM code WHERE number = 3", "entry 5 .issue 3 of model 1.: the row is gone"),
        (
            "INSERT INTO code SELECT model_id, 9, 'm', x'01', status, issued_at, NULL, '' FROM code"
            " WHERE number = 0",
            "code 9 of model 1: no log entry",
        ),
        ("UPDATE model SET facts = '{}'", "entry 1 .model 1.: the row says something else"),
        ("UPDATE model SET bits = 16", "entry 1 "),
        ("INSERT INTO model VALUES (2, 'n', 8, '{}', 1)", "model 2: no log entry"),
        ("UPDATE log SET at = at + 1 WHERE seq = 3", "entry 3: its hash"),
        ("UPDATE log SET digest = x'00' WHERE seq = 7", "entry 7: its hash"),
        ("UPDATE log SET hash = x'00' WHERE seq = 5", "entry 5: its hash"),
        ("DELETE FROM log WHERE seq = 4", "entry 4: the chain goes on at 5"),
        ("DELETE FROM log WHERE seq = 1", "entry 1: the chain goes on at 2"),
        ("DELETE FROM log WHERE seq = 8", "code 2 of model 1: no log entry tells that it is rev"),
        ("UPDATE log SET action = 'issue' WHERE seq = 8", "entry 8: its hash"),
    ],
)
def test_what_was_tampered_with_is_found_and_named(written, change, statement, named):
    change(statement)
    with pytest.raises(StoreError, match=named):
        written.audit()


def test_a_noted_head_shows_that_the_end_was_cut_off(written, change):
    earlier = written.audit()
    written.issue("faces", "e")
    noted = written.audit(earlier)
    assert written.audit(noted) == noted
    change("DELETE FROM log WHERE seq = 9")
    change("DELETE FROM code WHERE number = 5")
    assert written.audit() == earlier  # nothing inside can tell
    with pytest.raises(StoreError, match="not among the 8 entries"):
        written.audit(noted)
    with pytest.raises(SpecError, match="64 hexadecimal digits"):
        written.audit("?")


def test_a_flat_file_that_differs_from_the_database_is_found(written, tmp_path):
    packed, _ = written.codes("faces")
    assert len(packed) == 5
    (file,) = (tmp_path / "users.db.codes").glob("*.codes")
    raw = bytearray(file.read_bytes())
    raw[4 * 3] ^= 1
    file.write_bytes(raw)
    with pytest.raises(StoreError, match="as number 3; delete that file"):
        written.audit()
    del packed
    file.unlink()
    written.codes("faces")
    written.audit()


def test_flat_files_follow_the_database_that_was_put_back(registry, tmp_path):
    file, old = tmp_path / "users.db", tmp_path / "old.db"
    registry.issue("faces", "a")
    with sqlite3.connect(file) as source, sqlite3.connect(old) as target:
        source.backup(target)
    source.close()
    target.close()
    registry.issue("faces", "b")
    before = registry.codes("faces")[0].copy()
    registry.close()
    for path in tmp_path.glob("users.db-*"):
        path.unlink()
    old.chmod(0o600)
    old.replace(file)
    with Registry.open(file) as again:
        assert len(again.codes("faces")[0]) == 1
        again.issue("faces", "c")
        after = again.codes("faces")[0]
        assert after.shape == before.shape
        assert (after[0] == before[0]).all()
        assert (after[1] != before[1]).any()
        again.audit()


def test_flat_files_grow_with_the_registry_and_open_ones_stay(registry):
    registry.issue("faces", "a")
    first, _ = registry.codes("faces")
    registry.import_users("faces", ["user\n", "b\n", "c\n"])
    second, numbers = registry.codes("faces")
    assert (len(first), len(second), numbers) == (1, 3, range(3))
    assert (second[:1] == first).all()
    with Registry.open(registry.name) as other:
        assert (other.codes("faces")[0] == second).all()

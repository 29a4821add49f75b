import io
import stat

import numpy as np
import pytest

from fpbench.api import SpecError, StoreError
from fpbench.plan import is_reserved
from fpbench.users import Registry, uniform
from fpbench.users.database import Database


@pytest.fixture
def opened(place):
    with Registry.open(place, create=True) as registry:
        registry.add_model("faces", {"bits": 32})
        yield registry


def test_a_code_is_unique_reserved_and_kept(opened):
    issued = [opened.issue("faces", f"user {n}") for n in range(30)]
    codes = np.stack([each.code for each in issued])
    assert is_reserved(codes).all()
    assert len({code.tobytes() for code in codes}) == 30
    assert [each.number for each in issued] == list(range(30))
    packed, numbers = opened.codes("faces")
    np.testing.assert_array_equal(packed, np.packbits(codes, axis=1))
    assert list(numbers) == list(range(30))
    owner = opened.owner("faces", 7)
    assert (owner.user, owner.status, owner.issued_at) == ("user 7", "active", issued[7].issued_at)
    np.testing.assert_array_equal(opened.code("faces", 7), codes[7])
    assert len(opened.audit()) == 64
    assert "True" not in repr(issued[0])


def test_who_has_a_code_is_told_of_rotation_and_it_keeps_the_old_one(opened):
    first = opened.issue("faces", "acme")
    with pytest.raises(SpecError, match="rotate"):
        opened.issue("faces", "acme")
    second = opened.rotate("faces", "acme")
    assert second.number == 1
    assert (second.code != first.code).any()
    assert [(o.number, o.status) for o in opened.of_user("acme")] == [(0, "rotated"), (1, "active")]
    assert opened.count("faces") == 2
    assert len(opened.codes("faces")[0]) == 2
    opened.audit()


def test_who_was_revoked_stays_traceable_and_gets_no_other(opened):
    opened.issue("faces", "acme")
    opened.revoke("faces", "acme", "shared his copy")
    assert opened.owner("faces", 0).status == "revoked"
    assert opened.owner("faces", 0).reason == "shared his copy"
    assert len(opened.codes("faces")[0]) == 1
    for step in (
        lambda: opened.issue("faces", "acme"),
        lambda: opened.rotate("faces", "acme"),
        lambda: opened.revoke("faces", "acme", "again"),
    ):
        with pytest.raises(SpecError, match="revoked"):
            step()
    opened.audit()


def test_codes_that_were_ever_issued_are_never_drawn_again(registry):
    registry.add_model("tiny", {"bits": 7})
    reserved = int(is_reserved(_all(7)).sum())
    for n in range(reserved - 1):
        registry.issue("tiny", f"user {n}")
    registry.revoke("tiny", "user 0", "")
    last = registry.rotate("tiny", "user 1")
    assert registry.count("tiny") == reserved
    assert len(np.unique(registry.codes("tiny")[0])) == reserved
    assert last.number == reserved - 1
    with pytest.raises(SpecError, match="more bits"):
        registry.issue("tiny", "one too many")
    assert registry.count("tiny") == reserved


def test_a_least_distance_holds_against_all_that_were_issued(registry):
    for n in range(20):
        registry.issue("faces", f"user {n}", min_distance=10)
    codes = np.unpackbits(registry.codes("faces")[0], axis=1)
    apart = (codes[:, None] != codes[None]).sum(axis=2) + 99 * np.eye(20, dtype=int)
    assert apart.min() >= 10
    with pytest.raises(SpecError, match="smaller least distance"):
        registry.issue("faces", "far from all", min_distance=30)
    assert registry.count("faces") == 20


def test_codes_of_a_kind_come_from_its_draw(registry):
    biased = lambda n: np.random.default_rng(3).random((n, 32)) < 0.1  # noqa: E731
    assert registry.issue("faces", "acme", draw=biased).code.sum() < 12
    with pytest.raises(SpecError, match=r"draw to return bool \(n, 32\), got bool \(16, 8\)"):
        registry.issue("faces", "other", draw=uniform(8))


def test_facts_come_back_as_they_were_and_stay(opened):
    facts = {"bits": 16, "book": {"p": np.arange(3.0)}, "key": b"\0\xff", "seeds": [1, 2]}
    opened.add_model("with facts", facts)
    opened.add_model("with facts", facts)
    found = opened.model("with facts").facts
    np.testing.assert_array_equal(found["book"]["p"], [0, 1, 2])
    assert (found["key"], found["seeds"]) == (b"\0\xff", [1, 2])
    with pytest.raises(SpecError, match="another name"):
        opened.add_model("with facts", {**facts, "bits": 8})
    with pytest.raises(SpecError, match="with bits"):
        opened.add_model("none", {"bits": -1})


def test_models_have_codes_of_their_own(opened):
    opened.add_model("voices", {"bits": 16})
    opened.issue("faces", "acme")
    opened.issue("voices", "acme")
    assert [(o.model, o.number) for o in opened.of_user("acme")] == [("faces", 0), ("voices", 0)]
    assert opened.codes("voices")[0].shape == (1, 2)
    opened.audit()


def test_only_the_owner_may_read_what_is_written(registry, tmp_path):
    registry.issue("faces", "acme")
    registry.codes("faces")
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    (tmp_path / "users.db").chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        Registry.open(tmp_path / "users.db")


def test_exports_and_imports_on_both_engines_agree(opened):
    codes = uniform(32)(3)
    rows = ["user,code\n"]
    rows += [f"user {n},{np.packbits(code).tobytes().hex()}\n" for n, code in enumerate(codes)]
    assert opened.import_users("faces", [*rows, "without,\n"]).added == 4
    np.testing.assert_array_equal(opened.codes("faces")[0][:3], np.packbits(codes, axis=1))
    file = io.StringIO()
    opened.export("faces", file, codes=True)
    assert rows[1].split(",")[1].strip() in file.getvalue()


def test_the_log_refuses_a_slip_of_the_hand(place):
    import sqlalchemy as sa

    with Registry.open(place, create=True) as registry:
        registry.add_model("faces", {"bits": 32})
    database = Database(place, create=False)
    for change in ("DELETE FROM log", "UPDATE log SET number = 5"):
        with pytest.raises(StoreError, match="append-only"), database.writing() as connection:
            connection.execute(sa.text(change))
    database.close()


def _all(bits):
    return np.unpackbits(
        np.arange(2**bits, dtype=">u2").view(np.uint8).reshape(-1, 2), axis=1
    ).astype(bool)[:, 16 - bits :]

import json
import os
import threading
import time

import pytest

from fpbench.api import StoreError
from fpbench.store import leases as module
from fpbench.store.leases import EXPIRY_S, Leases

KEY = "a" * 64


def aged(root, key, seconds):
    path = root / "leases" / key
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def strange(root, key):
    """The lease of a process on another machine."""
    own = Leases(root)
    assert own.take(key, "other")
    path = root / "leases" / key
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"place": "elsewhere", "host": "other"}))
    return own


def test_one_holds_a_lease_until_it_is_given_back(tmp_path):
    first, second = Leases(tmp_path), Leases(tmp_path)
    assert first.take(KEY, "train host")
    assert not second.take(KEY, "train host")
    holder = second.holder(KEY)
    assert (holder.pid, holder.label) == (os.getpid(), "train host")
    assert second.all().keys() == {KEY}
    first.release(KEY)
    assert second.take(KEY, "train host")
    second.close()
    assert list((tmp_path / "leases").iterdir()) == []


def test_of_many_at_once_one_takes_it(tmp_path):
    together, taken = threading.Barrier(8), []

    def take():
        own = Leases(tmp_path)
        together.wait()
        taken.append(own.take(KEY, "it"))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 7 + [True]


def test_of_many_at_once_one_takes_over_from_the_dead(tmp_path):
    for _ in range(10):
        strange(tmp_path, KEY)
        aged(tmp_path, KEY, EXPIRY_S + 1)
        together, taken = threading.Barrier(4), []

        def take(together=together, taken=taken):
            own = Leases(tmp_path)
            together.wait()
            taken.append((own, own.take(KEY, "it")))

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = [own for own, took in taken if took]
        winner.close()


def test_who_is_silent_for_too_long_has_lost_it(tmp_path):
    strange(tmp_path, KEY)
    own = Leases(tmp_path)
    assert not own.take(KEY, "it")
    aged(tmp_path, KEY, EXPIRY_S - 60)
    assert not own.take(KEY, "it")
    aged(tmp_path, KEY, EXPIRY_S)
    assert own.take(KEY, "it")


def test_who_has_died_on_this_machine_has_lost_it(tmp_path):
    first = Leases(tmp_path)
    assert first.take(KEY, "it")
    path = tmp_path / "leases" / KEY
    process = os.fork()
    if not process:
        os._exit(0)
    os.waitpid(process, 0)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": process}))
    assert Leases(tmp_path).take(KEY, "it")


def test_a_lost_lease_is_not_given_back_for_another(tmp_path):
    first = strange(tmp_path, KEY)
    aged(tmp_path, KEY, EXPIRY_S + 1)
    second = Leases(tmp_path)
    assert second.take(KEY, "it")
    first.release(KEY)
    assert second.holder(KEY).token == second._held[KEY].token


def test_a_holder_shows_that_he_lives(tmp_path):
    own = Leases(tmp_path, beat_s=0.05)
    assert own.take(KEY, "it")
    aged(tmp_path, KEY, 1000)
    deadline = time.monotonic() + 20
    while own.holder(KEY).age_s > 10 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert own.holder(KEY).age_s <= 10


def test_torn_leases_are_nobodys(tmp_path):
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / KEY).write_text('{"token": ')
    assert Leases(tmp_path).take(KEY, "it")


def test_others_wait_and_are_told_who_holds_it(tmp_path):
    first, second = Leases(tmp_path), Leases(tmp_path)
    assert first.take(KEY, "records")
    with (
        pytest.raises(StoreError, match=f"process {os.getpid()} on"),
        second.alone(KEY, "records", patience_s=0.1),
    ):
        pass
    first.release(KEY)
    with second.alone(KEY, "records"):
        assert not first.take(KEY, "records")
    assert first.take(KEY, "records")


def test_a_place_is_a_boot_and_a_container():
    assert module._place() == module._place() != ""


@pytest.mark.parametrize(
    "change",
    [
        {"pid": "me"},
        {"pid": 2**80},
        {"since": "yesterday"},
        {"more": 1},
        {"token": None},
        "[" * 100_000,
        "\0" * 100,
        b"\xff\xfe",
        "[]",
        "folder",
    ],
)
def test_what_is_no_lease_is_nobodys(tmp_path, change):
    own = Leases(tmp_path)
    assert own.take(KEY, "it")
    path = tmp_path / "leases" / KEY
    if isinstance(change, dict):
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    elif change == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(change if isinstance(change, bytes) else change.encode())
    assert Leases(tmp_path).all() == {}
    assert Leases(tmp_path).take(KEY, "it")


def test_a_lease_that_may_not_be_read_lives_by_its_time(tmp_path, monkeypatch):
    strange(tmp_path, KEY)

    def refuse(path, encoding):
        raise PermissionError(path)

    monkeypatch.setattr(module.Path, "read_text", refuse)
    assert not Leases(tmp_path).take(KEY, "it")
    aged(tmp_path, KEY, EXPIRY_S + 1)
    assert Leases(tmp_path).take(KEY, "it")


def test_a_sign_of_life_from_the_future_is_dated_now(tmp_path):
    strange(tmp_path, KEY)
    path = tmp_path / "leases" / KEY
    now = path.stat().st_mtime
    os.utime(path, (now + 86400, now + 86400))
    assert not Leases(tmp_path).take(KEY, "it")
    assert path.stat().st_mtime < now + 60
    aged(tmp_path, KEY, EXPIRY_S + 1)
    assert Leases(tmp_path).take(KEY, "it")

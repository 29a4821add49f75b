import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from fpbench.api import NoSpace, StoreError
from fpbench.store import Leases, Store

KEY, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def arrays():
    return {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "code": np.array([True, False])}


def shard_folder(store, key=KEY):
    return next((store.root / "objects" / key[:2] / key).iterdir())


def test_what_is_put_comes_back(store):
    assert not store.has(KEY)
    store.put(KEY, arrays(), {"a": 1.5, "b": ["x"]})
    found = store.get(KEY)
    assert store.has(KEY)
    assert found.meta == {"a": 1.5, "b": ["x"]}
    assert {k: v.tolist() for k, v in found.arrays.items()} == {
        k: v.tolist() for k, v in arrays().items()
    }


def test_first_writer_wins(store):
    store.put(KEY, {}, {"who": "first"})
    store.put(KEY, {}, {"who": "second"})
    assert store.meta(KEY)["who"] == "first"


def test_columns_of_several_shards_are_found(store):
    store.append(KEY, "a" * 32, {"c1/x": np.zeros(1)}, ["c1"], {})
    store.append(KEY, "b" * 32, {"c2/x": np.ones(1)}, ["c2"], {})
    assert store.columns(KEY) == {"c1": "a" * 32, "c2": "b" * 32}
    assert store.shard(KEY, "b" * 32).arrays["c2/x"] == [1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: (p / "arrays.safetensors").write_bytes(b"short"),
        lambda p: (p / "arrays.safetensors").unlink(),
        lambda p: (p / "manifest.json").write_text("{"),
        lambda p: (p / "manifest.json").unlink(),
        lambda p: edit(p / "manifest.json", meta={"a": 2}),
        lambda p: edit(p / "manifest.json", sha256="0" * 64),
        lambda p: edit(p / "manifest.json", key="cd" * 32),
    ],
)
def test_damage_is_reported_by_key_and_path_and_never_used(store, damage):
    store.put(KEY, arrays(), {"a": 1})
    damage(shard_folder(store))
    with pytest.raises(StoreError) as caught:
        store.get(KEY)
    assert caught.value.key == KEY
    assert KEY[:16] in str(caught.value)
    assert "--repair" in str(caught.value)
    assert Path(caught.value.path).parent == shard_folder(store)
    assert [error.key for error in store.verify()] == [KEY]


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_object_of_another_key_is_not_accepted(store):
    other = "cd" * 32
    store.put(KEY, arrays(), {})
    target = store.root / "objects" / other[:2] / other
    target.parent.mkdir(parents=True)
    shard_folder(store).parent.rename(target)
    with pytest.raises(StoreError, match="as it was written"):
        store.get(other)


@pytest.mark.parametrize("key", ["", "../../etc", "g" * 64, "AB" * 32])
def test_keys_that_are_no_digests_touch_no_file(store, key):
    with pytest.raises(StoreError, match="64-digit"):
        store.get(key)


@pytest.mark.parametrize("moment", ["fsync", "rename"])
def test_a_kill_while_writing_leaves_nothing_that_is_read(store, monkeypatch, moment):
    class Killed(BaseException):
        pass

    def kill(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if moment == "fsync" else (Path, "rename")), kill)
        with pytest.raises(Killed):
            store.put(KEY, arrays(), {})
    assert not store.has(KEY)
    store.put(KEY, arrays(), {})
    assert store.get(KEY).arrays["x"].shape == (2, 3)


def test_full_disk_is_a_clear_error_and_earlier_results_stay(store, monkeypatch):
    store.put(KEY, arrays(), {})

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(NoSpace, match=r"no space left.*earlier results are intact"):
            store.put("cd" * 32, arrays(), {})
    assert store.get(KEY).arrays["x"].shape == (2, 3)
    assert not list((store.root / "tmp").iterdir())


def test_who_may_enter_the_store_may_read_what_is_in_it(store):
    before = os.umask(0o002)
    try:
        store.put(KEY, {"a": np.arange(3)}, {})
        leases = Leases(store.root)
        assert leases.take(OTHER, "a stage")
        (lease,) = (store.root / "leases").glob("[!.]*")
        modes = {path.name: path.stat().st_mode & 0o777 for path in store._key_path(KEY).rglob("*")}
        modes["lease"] = lease.stat().st_mode & 0o777
        leases.close()
    finally:
        os.umask(before)
    files = dict.fromkeys(("manifest.json", "arrays.safetensors"), 0o664)
    assert modes == {"main": 0o775, **files, "lease": 0o644}


def test_what_another_store_has_is_taken_whole_or_not_at_all(store, tmp_path):
    other = Store(tmp_path / "other")
    other.put(KEY, {"a": np.arange(3)}, {"x": 1})
    other.save_checkpoint(OTHER, "last", {"b": np.zeros(2)}, {"step": 4})
    store.take(other, KEY, "main")
    assert store.get(KEY).meta == {"x": 1}
    assert store.digests(KEY) == other.digests(KEY)
    assert store.take_checkpoints(other, OTHER)
    assert store.load_checkpoint(OTHER, "last").meta == {"step": 4}
    assert not store.take_checkpoints(other, OTHER)  # ours may have gone on since
    next(tmp_path.glob("other/objects/*/*/main/arrays.safetensors")).write_bytes(b"")
    with pytest.raises(StoreError, match="other content"):
        Store(tmp_path / "third").take(other, KEY, "main")
    assert list(tmp_path.glob("third/objects/*/*/*")) == []


def test_newest_checkpoint_counts_and_damaged_ones_are_passed_over(store):
    store.save_checkpoint(KEY, "train", {"w": np.zeros(1)}, {"step": 1})
    store.save_checkpoint(KEY, "train", {"w": np.ones(1)}, {"step": 2})
    assert store.load_checkpoint(KEY, "train").meta == {"step": 2}
    folder = store.root / "checkpoints" / KEY / "train"
    assert len(list(folder.iterdir())) == 1
    (next(folder.iterdir()) / "arrays.safetensors").write_bytes(b"")
    assert store.load_checkpoint(KEY, "train") is None
    store.drop_checkpoints(KEY)
    assert not folder.exists()


def test_dropped_artefacts_are_gone(store):
    store.put(KEY, {}, {})
    store.drop(KEY)
    assert not store.has(KEY)
    assert list(store.keys()) == []

"""Runs of several machines become one, and what two of them made otherwise is never mixed."""

import json
import shutil

import pytest

from fpbench.api import SpecError
from fpbench.execute.journal import read_events
from fpbench.execute.runs import open_run
from fpbench.execute.uniting import unite
from fpbench.plan import Kind
from fpbench.store import RecordLog, Store
from fpbench.store.records import content

FAKES = ("fpbench.testing.fakes",)


@pytest.fixture
def machine(run_in, suite_file, tmp_path):
    """Runs a part of one suite on a machine of its own; returns the run."""
    suite = suite_file()

    def run(name, **selected):
        summary, _, folder = run_in(tmp_path / name, suite, **selected)
        assert not summary.problems
        return open_run(folder, FAKES)

    return run


def retried(run_in, folder):
    return run_in(folder.parent, folder / "suite.toml", folder=folder.name, **asked(folder))


def asked(folder):
    request = json.loads((folder / "request.json").read_text())
    return {name: tuple(request[name]) for name in ("methods", "attacks")}


def contents(folder):
    return {k: content(r) for k, r in RecordLog(folder / "records.jsonl").read().items()}


def test_halves_make_the_whole_and_nothing_is_computed_again(machine, run_in, tmp_path):
    whole = machine("whole").folder
    a = machine("a", methods=("perfect",))
    b = machine("b", methods=("blind",))
    with (b.folder / "events.jsonl").open("ab") as file:
        file.write(b"\xff torn\n")
    found = unite([a, b], tmp_path / "c" / "run")
    assert found.whole
    ended = [read_events(folder) for folder in (a.folder, b.folder, tmp_path / "c" / "run")]
    assert ended[2] == sorted(ended[0] + ended[1], key=lambda event: event.time)
    assert set(found.taken) == {str(a.folder), str(b.folder)}
    assert asked(tmp_path / "c" / "run")["methods"] == ("perfect", "blind")
    assert contents(tmp_path / "c" / "run").keys() == contents(whole).keys()
    summary, _, folder = retried(run_in, tmp_path / "c" / "run")
    # Numbers tell of the host's training, whose seconds are the first machine's.
    assert set(summary.seconds) <= {"measure blind"}
    assert contents(folder) == contents(whole)


def test_other_attacks_of_one_method_are_columns_of_one_reading(machine, run_in, tmp_path):
    a = machine("a", methods=("perfect",), attacks=("jpeg",))
    b = machine("b", methods=("perfect",), attacks=("bypass",))
    unite([a, b], tmp_path / "c" / "run")
    summary, _, folder = retried(run_in, tmp_path / "c" / "run")
    assert {label.split()[0] for label in summary.seconds} <= {"measure"}
    assert contents(folder) == contents(machine("both", **asked(folder)).folder)


def test_what_another_training_gave_is_left_out_with_all_behind_it(machine, run_in, tmp_path):
    a, b = machine("a", methods=("perfect",)), machine("b", methods=("blind",))
    host = next(a.graph.of(Kind.HOST)).key
    changed = b.store.get(host)
    b.store.drop(host)
    arrays = {name: array + 1 for name, array in changed.arrays.items()}
    b.store.put(host, arrays, changed.meta)
    found = unite([a, b], tmp_path / "c" / "run")
    assert not found.whole
    assert found.conflicts == [("train host tiny-host", str(b.folder))]
    assert found.behind[str(b.folder)] > 10
    store = Store(tmp_path / "c" / "store")
    assert store.digests(host) == a.store.digests(host) != b.store.digests(host)
    summary, _, _ = retried(run_in, tmp_path / "c" / "run")
    assert "issue blind" in summary.seconds


@pytest.mark.parametrize("where", ["arrays.safetensors", "manifest.json"])
def test_what_stands_on_something_damaged_goes_with_nothing_else(machine, run_in, tmp_path, where):
    a, b = machine("a", methods=("perfect",)), machine("b", methods=("blind",))
    host = next(a.graph.of(Kind.HOST)).key
    theirs = b.store.get(host)
    b.store.drop(host)
    b.store.put(host, {k: v + 1 for k, v in theirs.arrays.items()}, theirs.meta)
    (a.store._key_path(host) / "main" / where).write_bytes(b"broken")
    found = unite([a, b], tmp_path / "c" / "run")
    assert len(found.damaged) == 1
    store = Store(tmp_path / "c" / "store")
    # Either all is the first one's, but for the host, or all is the second one's.
    first = store.has(next(a.graph.of(Kind.ISSUE)).key)
    assert first == (where == "arrays.safetensors")
    assert store.has(host) != first
    assert store.has(next(b.graph.of(Kind.ISSUE)).key) != first


def test_columns_that_two_shards_share_must_be_the_same(machine, tmp_path):
    a = machine("a", methods=("perfect",), attacks=("jpeg",))
    b = machine("b", methods=("perfect",), attacks=("bypass",))
    key = b.plan.reading_key(b.plan.fits[0], 0, None)
    ((shard, _),) = b.store.digests(key).items()
    theirs = b.store.shard(key, shard)
    columns = theirs.meta["columns"]
    b.store.drop(key)
    changed = {k: v + 1 if k.endswith("/logits") else v for k, v in theirs.arrays.items()}
    meta = {k: v for k, v in theirs.meta.items() if k != "columns"}
    b.store.append(key, shard, changed, columns, meta)
    found = unite([a, b], tmp_path / "c" / "run")
    assert [label for label, _ in found.conflicts] == ["read perfect: copy 1"]
    assert Store(tmp_path / "c" / "store").digests(key) == a.store.digests(key)


def test_what_is_damaged_in_one_comes_from_the_other(machine, run_in, tmp_path):
    a, b = machine("a"), machine("b")
    key = a.plan.reading_key(a.plan.fits[0], 0, None)
    next(a.store._key_path(key).glob("*/arrays.safetensors")).write_bytes(b"broken")
    found = unite([a, b], tmp_path / "c" / "run")
    assert len(found.damaged) == 1
    assert retried(run_in, tmp_path / "c" / "run")[0].executed == 0


def test_what_cannot_be_one_run_is_refused_and_nothing_is_made(machine, suite_file, tmp_path):
    a, b = machine("a"), machine("b")
    other = shutil.copytree(b.folder.parent, tmp_path / "d") / "run"
    text = (other / "suite.toml").read_text().replace("images = 4", "images = 5")
    (other / "suite.toml").write_text(text)
    target = tmp_path / "c" / "run"
    for runs, where, message in (
        ([a, open_run(other, FAKES)], target, "expected runs of one suite, got the suite.toml"),
        ([a, a], target, "each once"),
        ([a], target, "two or more runs"),
        ([a, b], a.folder, "which is there"),
        ([a, b], a.folder / "c", "outside of the runs"),
    ):
        with pytest.raises(SpecError, match=message):
            unite(runs, where)
    assert not target.parent.exists()

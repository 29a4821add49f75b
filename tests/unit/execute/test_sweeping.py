import json
import os

import pytest
from click.testing import CliRunner

from fpbench.api import SpecError
from fpbench.cli.main import cli
from fpbench.execute.sweeping import census_of, open_runs, sweep, waste_of
from fpbench.plan import Kind
from fpbench.store import Leases
from fpbench.store.objects import LITTER_S

FAKES = ("-p", "fpbench.testing.fakes")
STRANGE = "ab" * 32


@pytest.fixture
def strewn(opened):
    """A store with something of everything that may go, and of what may not."""
    store = opened.store
    store.put(STRANGE, {}, {})
    for key in (STRANGE, broken(opened).key, next(opened.graph.of(Kind.HOST)).key):
        store.save_checkpoint(key, "state", {}, {})
    old = [store.root / "tmp" / "old", store.root / "leases" / ".new.old"]
    for path in (*old, store.root / "tmp" / "new", store.root / "leases" / ".clock.new"):
        path.write_text("x")
    for path in old:
        past = path.stat().st_mtime - LITTER_S - 10
        os.utime(path, (past, past))
    return opened


def broken(opened):
    return next(s for s in opened.graph.of(Kind.TRAINING) if s.fit.method.label == "broken")


def test_only_what_no_kept_run_needs_is_waste(strewn):
    store, before = strewn.store, set(strewn.store.keys())
    waste = waste_of(store, [strewn])
    assert list(waste.artefacts) == [STRANGE]
    assert set(waste.checkpoints) == {STRANGE, next(strewn.graph.of(Kind.HOST)).key}
    assert {path.name for path in waste.litter} == {"old", ".new.old"}
    assert sweep(store, waste) == waste.bytes > 0
    assert set(store.keys()) == before - {STRANGE}
    assert list(store.checkpoints()) == [broken(strewn).key]
    assert waste_of(store, [strewn]).bytes == 0
    assert not store.verify()


def test_nothing_goes_while_a_stranger_works_and_never_what_he_works_at(strewn):
    leases = Leases(strewn.store.root)
    assert leases.take(STRANGE, "train a stranger's")
    try:
        waste = waste_of(strewn.store, [strewn])
        assert STRANGE not in {**waste.artefacts, **waste.checkpoints}
        with pytest.raises(SpecError, match="train a stranger's"):
            sweep(strewn.store, waste)
    finally:
        leases.close()


def test_a_run_at_work_is_no_stranger_where_it_is_kept(strewn):
    leases = Leases(strewn.store.root)
    assert leases.take(broken(strewn).key, "train broken")
    try:
        assert waste_of(strewn.store, [strewn]).strangers == ()
    finally:
        leases.close()


def test_what_is_reached_is_counted_by_kind(strewn):
    census = census_of(strewn.store, [strewn], [])
    assert census.kinds["training"][0] == 1
    assert census.kinds["cell"][0] == 3
    assert census.rest == (1, strewn.store.size(STRANGE))
    whole = sum(number for number, _ in census.kinds.values())
    assert whole + 1 == len(list(strewn.store.keys()))


def test_a_run_whose_plugin_changed_is_said_to_be_unreadable(made, monkeypatch):
    from fpbench.testing.fakes import Perfect

    monkeypatch.setattr(Perfect, "version", "2")
    found, unreadable = open_runs([made / "run"], FAKES[1:], made / "store")
    assert not found
    assert "have changed since" in unreadable[0].reason
    gc = CliRunner().invoke(
        cli, [*FAKES, "cache", "gc", "--keep", "run", "--yes", "--store", str(made / "store")]
    )
    assert "so nothing is deleted" in str(gc.exception)


def test_the_commands_list_first_and_delete_when_told(strewn, made):
    def call(*arguments):
        done = CliRunner().invoke(cli, [*FAKES, "cache", *arguments, "--store", made / "store"])
        return done.output if done.exception is None else str(done.exception)

    assert "expected --keep RUN" in call("gc")
    assert "there are run" in call("gc", "--keep", "zzz")
    assert "not reached" in call("ls")
    listed = json.loads(call("gc", "--keep", "run", "--json"))
    assert list(listed["artefacts"]) == [STRANGE]
    assert strewn.store.has(STRANGE)
    assert f"{listed['bytes']:,} bytes deleted" in call("gc", "--keep", "run", "--yes")
    assert not strewn.store.has(STRANGE)
    assert "nothing is to be deleted" in call("gc", "--keep", "run")

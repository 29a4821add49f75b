import json
import time

import pytest
from click.testing import CliRunner

from fpbench.api import SpecError
from fpbench.cli.main import cli
from fpbench.execute.estimate import Past
from fpbench.execute.journal import read_events, read_logs
from fpbench.execute.looking import standing_of
from fpbench.execute.run import Run
from fpbench.execute.runner import Runner
from fpbench.execute.runs import open_run, run_folder
from fpbench.plan import Kind
from fpbench.store import Leases

FAKES = ("-p", "fpbench.testing.fakes")


def stage(opened, kind):
    return next(opened.graph.of(kind))


def test_outcomes_are_counted_by_training(opened):
    standing = standing_of(opened)
    assert standing.cells == {"perfect": {"done": 3}, "broken": {"blocked": 3}}
    assert standing.totals["done"] == 3
    assert (standing.running, standing.elsewhere) == ((), 0)
    assert "Next: `fpbench retry run`" in standing.lines("run")[-1]
    named = standing.lines("run", ["./mine.py", "no:other"])[-1]
    assert "Next: `fpbench -p ./mine.py -P other retry run`" in named


def test_a_failure_comes_with_the_end_of_its_log_and_what_stands_behind(opened):
    (failure,) = standing_of(opened).failures
    assert (failure.label, failure.outcome) == ("train broken", "failed")
    assert "as it was told to" in failure.reason
    assert failure.tail[-1] == failure.reason
    assert len(failure.tail) == 3
    left = {each.kind: each for each in standing_of(opened).left}
    assert left["training"].stages == left["training"].behind == 1
    assert left["copy"].stages == left["copy"].behind == 2
    assert standing_of(opened).estimate.work_s == 0


def test_what_is_done_no_more_is_pending_with_an_estimate(opened):
    measuring = next(s for s in opened.graph.of(Kind.MEASURING) if s.fit.method.label == "perfect")
    opened.store.drop(measuring.cells[0].key)
    standing = standing_of(opened)
    assert standing.cells["perfect"] == {"done": 2, "pending": 1}
    took = Past(read_events(opened.folder)).seconds(measuring)
    assert standing.estimate.work_s == pytest.approx(took / 3)  # one of three cells
    assert standing.estimate.unknown == 0


def test_a_running_stage_shows_who_where_and_how_long_yet(opened):
    host, now = stage(opened, Kind.REFERENCE), time.time()
    opened.store.drop(host.key)
    leases = Leases(opened.store.root)
    assert leases.take(host.key, host.label)
    assert leases.take("f" * 64, "another run's")
    try:
        standing = standing_of(opened, now)
    finally:
        leases.close()
    (running,) = standing.running
    assert (running.label, running.kind) == ("read reference images", "reference")
    took = Past(read_events(opened.folder)).seconds(host)
    assert running.left_s == pytest.approx(took, abs=1)
    assert standing.elsewhere == 1
    assert "reference" not in [each.kind for each in standing.left]
    assert json.loads(json.dumps(standing.as_json()))["running"][0]["pid"] == running.pid


def test_torn_lines_of_events_are_passed_over(made):
    events = read_events(made / "run")
    with (made / "run" / "events.jsonl").open("a") as file:
        file.write('{"time": 1, "stage"')
    assert read_events(made / "run") == events


def test_a_run_is_found_by_path_and_by_name_and_else_what_there_is_is_said(made):
    assert run_folder(str(made / "run"), made) == run_folder("run", made) == made / "run"
    with pytest.raises(SpecError, match="did you mean 'run'"):
        run_folder("runn", made)
    with pytest.raises(SpecError, match="name it by --store"):
        open_run(made / "run", (), made / "nowhere")


def test_what_is_asked_is_kept_before_anything_is_run(small_run, run_in, tmp_path, monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "_stages", stop)
    with pytest.raises(KeyboardInterrupt):
        run_in(tmp_path, small_run / "suite.toml")
    for name in ("request.json", "suite.toml", "suite.json"):
        assert (tmp_path / "run" / name).read_bytes() == (small_run / "run" / name).read_bytes()
    opened = open_run(tmp_path / "run", ("fpbench.testing.fakes",))
    assert standing_of(opened).totals["pending"] == 6


def test_logs_are_listed_and_printed_by_part_of_their_label(made):
    (log,) = read_logs(made / "run")
    listed = CliRunner().invoke(cli, ["logs", str(made / "run")])
    assert listed.output.startswith("train broken: RuntimeError: the fit broke")
    printed = CliRunner().invoke(cli, ["logs", "run", "BROKEN", "--runs", str(made)])
    assert log.rest in printed.output
    missed = CliRunner().invoke(cli, ["logs", str(made / "run"), "host"])
    assert "there are train broken" in str(missed.exception)


def test_status_prints_a_matrix(made):
    done = CliRunner().invoke(cli, [*FAKES, "status", str(made / "run")])
    assert done.exit_code == 0, done.exception
    assert "running now: nothing" in done.output
    row = next(line for line in done.output.splitlines() if "broken" in line)
    assert row.split() == ["broken", "0", "3"]


def test_retry_runs_what_failed_and_keeps_the_name_of_the_suite(made, monkeypatch):
    def here(self, slot):
        return Runner(self._plan, self._request, self._store, slot=slot)

    monkeypatch.setattr(Run, "_worker", here)  # a process of its own takes long to start
    before = (made / "run" / "request.json").read_text()
    arguments = ["retry", str(made / "run"), "--json", "-q"]
    done = CliRunner().invoke(cli, [*FAKES, *arguments])
    assert done.exit_code == 4, done.exception
    summary = json.loads(done.output.splitlines()[-1])
    assert summary["cells"] == {"done": 3, "blocked": 3}
    assert list(summary["seconds"]) == ["train broken"]
    assert (made / "run" / "request.json").read_text() == before

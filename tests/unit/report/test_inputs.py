import json

import pytest
from report_factory import JPEG, FakeRun

from fpbench.api import StoreError, canonical_json
from fpbench.report.inputs import read_inputs
from fpbench.report.tables import Board
from fpbench.store.names import Slugs


def append(folder, records):
    with (folder / "records.jsonl").open("a") as file:
        file.writelines(canonical_json(record) + "\n" for record in records)


def test_records_of_another_suite_version_are_left_out_and_counted(tmp_path):
    FakeRun().write(tmp_path)
    append(tmp_path, FakeRun(version=2).records())
    inputs = read_inputs(tmp_path)
    assert {r["suite"]["version"] for r in inputs.records} == {1}
    assert inputs.earlier == len(FakeRun(version=2).records())


def test_method_that_left_the_suite_is_left_out(tmp_path):
    FakeRun(["alpha", "beta"]).write(tmp_path)
    suite = FakeRun(["beta"]).suite()
    (tmp_path / "suite.json").write_text(json.dumps(suite))
    assert [m.label for m in Board(read_inputs(tmp_path)).methods] == ["beta"]


def test_failure_that_was_mended_is_gone(tmp_path):
    FakeRun(outcomes={("alpha", "jpeg 90"): ("failed", "boom")}).write(tmp_path)
    append(tmp_path, FakeRun().records())
    board = Board(read_inputs(tmp_path))
    assert board.cell("alpha", 0, "jpeg 90").done


def test_failure_after_a_change_of_source_replaces_old_numbers(tmp_path):
    FakeRun().write(tmp_path)
    failed = FakeRun(outcomes={("alpha", "jpeg 90"): ("failed", "boom")}).records()
    failure = next(r for r in failed if r["outcome"] == "failed")
    append(tmp_path, [{**failure, "cell": "another key"}])
    cell = Board(read_inputs(tmp_path)).cell("alpha", 0, "jpeg 90")
    assert (cell.outcome, cell.reason) == ("failed", "boom")


def test_component_that_could_be_loaded_since_is_no_longer_unavailable(tmp_path):
    FakeRun(["alpha"], unavailable=[("methods", "alpha", "broken")]).write(tmp_path)
    assert Board(read_inputs(tmp_path)).methods[0].unavailable == ""


def test_points_come_in_the_order_of_the_suite(tmp_path):
    board = FakeRun(attacks=[JPEG]).board(tmp_path)
    assert [p.label for p in board.points] == ["none", "jpeg 90", "jpeg 50"]


def test_seeds_are_merged_and_one_failed_seed_is_not_hidden(tmp_path):
    run = FakeRun(["alpha"], [JPEG], seeds=(0, 1), right=lambda m, s, p, c: 0.4 + 0.2 * s)
    number = run.board(tmp_path).number("alpha", "none", "attribution")
    assert number.value == pytest.approx(0.5)
    assert number.seeds == pytest.approx((0.4, 0.6))
    assert number.low is None

    lines = (tmp_path / "records.jsonl").read_text().splitlines(keepends=True)
    kept = [x for x in lines if (r := json.loads(x))["training_seed"] == 0 or r["metric"] == "cost"]
    (tmp_path / "records.jsonl").write_text("".join(kept))
    number = Board(read_inputs(tmp_path)).number("alpha", "jpeg 90", "attribution")
    assert number.outcome == "missing"
    assert number.reason.startswith("training seed 1")


def test_run_without_suite_file_is_read_from_its_records(tmp_path):
    FakeRun(attacks=[JPEG]).write(tmp_path)
    (tmp_path / "suite.json").unlink()
    board = Board(read_inputs(tmp_path))
    assert [p.label for p in board.points] == ["none", "jpeg 90", "jpeg 50"]
    assert (board.registered, board.false_rate) == (30, 0.01)


def test_broken_suite_file_is_said_by_name(tmp_path):
    FakeRun().write(tmp_path)
    (tmp_path / "suite.json").write_text("[1,")
    with pytest.raises(StoreError, match=r"suite\.json"):
        read_inputs(tmp_path)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a b.png", "..", "no.png", 7])
def test_odd_file_names_in_samples_are_refused(tmp_path, name):
    folder = FakeRun().write(tmp_path / "run") / "samples"
    folder.mkdir()
    (tmp_path / "run" / "secret.png").write_bytes(b"x")
    (folder / "host.png").write_bytes(b"x")
    strips = {"codes": [name, "host.png"], "residual": name, "points": {"jpeg 90": name}}
    data = {"host": "host.png", "real": name, "methods": {"alpha": strips}}
    (folder / "samples.json").write_text(json.dumps(data))
    samples = read_inputs(tmp_path / "run").samples
    assert samples.files() == ["host.png"]
    assert samples.methods["alpha"].codes == ("host.png",)


def test_sample_that_is_a_link_is_refused(tmp_path):
    folder = FakeRun().write(tmp_path / "run") / "samples"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    (folder / "host.png").symlink_to(tmp_path / "secret")
    (folder / "samples.json").write_text(json.dumps({"host": "host.png"}))
    assert read_inputs(tmp_path / "run").samples.files() == []


def test_slugs_are_harmless_and_distinct():
    slugs = Slugs()
    made = [slugs.make(label) for label in ("A b", "a-b", "../..", "<script>", "日本", "a-b")]
    assert made == ["a-b", "a-b-2", "unnamed", "script", "unnamed-2", "a-b-3"]


@pytest.mark.parametrize(("told", "read"), [('["host.file"]', ("host.file",)), ('"no list"', ())])
def test_places_are_a_list_or_none(tmp_path, told, read):
    FakeRun().write(tmp_path)
    (tmp_path / "submissions.json").write_text(f'{{"places": {told}, "submissions": []}}')
    assert read_inputs(tmp_path).places == read

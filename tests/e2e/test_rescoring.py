"""Numbers made again from the store, and what a suite asks beside attacks."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from rows import value
from scipy.stats import binom

from fpbench.api import Outcome
from fpbench.cli.main import cli
from fpbench.store import RecordLog, Store


@pytest.fixture
def score(tmp_path):
    """`fpbench score` on the run of `run_suite`; (exit code, output)."""

    def call(*arguments):
        base = ["-p", "fpbench.testing.fakes", "score", str(tmp_path / "run")]
        done = CliRunner().invoke(cli, [*base, *arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return call


@pytest.fixture
def done(run_suite, suite_file):
    return run_suite(suite_file(("steps = [1, 3]", "steps = [1]")))


def changed_cell(folder, records, *, by):
    """Put another value into a stored cell, as an older fpbench might have computed."""
    row = value(records, "perfect", "none", "bit-accuracy")
    store = Store(folder.parent / "store")
    meta = store.meta(row["cell"])
    for stored in meta["rows"]:
        if (stored["metric"], stored["variant"]) == ("bit-accuracy", ""):
            stored["value"] += by
    store.drop(row["cell"])
    store.put(row["cell"], {}, meta)


def test_scoring_again_changes_nothing(done, score):
    _, _, folder = done
    before = (folder / "records.jsonl").read_bytes()
    code, output = score("--check")
    assert code == 0, output
    assert "0 changed" in output
    code, output = score("--json")
    found = json.loads(output)
    assert code == 0
    assert (found["changed"], found["fresh"], found["lacking"]) == ([], 0, [])
    assert found["cells"] == 14
    assert len(before) <= len((folder / "records.jsonl").read_bytes())


def test_a_number_that_readings_do_not_give_is_found_and_mended(done, score):
    _, records, folder = done
    changed_cell(folder, records, by=-0.25)
    code, output = score("--check")
    assert code == 1
    assert "perfect under none: bit-accuracy: 0.75 → 1" in output
    assert score()[0] == 0
    latest = RecordLog(folder / "records.jsonl").read()
    assert value(latest, "perfect", "none", "bit-accuracy")["value"] == 1
    assert score("--check")[0] == 0


def test_every_image_has_its_p_value(done, score, tmp_path):
    file = tmp_path / "images.csv"
    assert score("--check", "--images", str(file))[0] == 0
    with file.open() as lines:
        rows = [r for r in csv.DictReader(lines) if r["point"] == "none"]
    assert len(rows) == 2 * 5 * 4
    for row in rows:
        if row["method"] == "perfect":
            assert (row["right_bits"], row["user"]) == ("16", row["best_user"])
        p = binom.sf(int(row["right_bits"]) - 1, 16, 0.5)
        assert float(row["log10_p"]) == pytest.approx(np.log10(p), abs=1e-9)
        any_p = 1 - (1 - binom.sf(int(row["best_match"]) - 1, 16, 0.5)) ** 30
        assert float(row["log10_p_any"]) == pytest.approx(np.log10(any_p), abs=1e-9)


def test_what_is_not_a_run_is_refused(score, tmp_path):
    (tmp_path / "run").mkdir()
    done = CliRunner().invoke(cli, ["score", str(tmp_path / "run")])
    assert "expected the folder of a run with a request.json" in str(done.exception)


def test_the_request_names_no_code_and_no_other_folder(done):
    _, _, folder = done
    request = json.loads((folder / "request.json").read_text())
    assert request["plugins"] == []
    assert request["store"] == request["weights"] == ""


def test_a_detector_sees_visible_marks_and_not_absent_ones(run_suite, suite_file):
    suite = suite_file(
        ("[score]", "[secrecy]\nsteps = 150\nimages = 24\n[score]"),
        ("copies = 5", "copies = 8"),
        ("steps = [1, 3]", "steps = [1]"),
    )
    summary, records, _ = run_suite(suite)
    assert set(summary.cells) == {Outcome.DONE}
    seen, unseen = (value(records, m, "none", "secrecy") for m in ("perfect", "blind"))
    assert seen["value"] > 0.7
    assert seen["clusters"] == 4
    # Copies of the blind method are the host: nothing can be seen, and 96 images say so.
    assert abs(unseen["value"] - 0.5) < 0.2
    assert value(records, "perfect", "none", "secrecy", "auroc")["value"] > 0.8


def test_a_detector_needs_copies_to_be_tried_on(suite_file):
    suite = suite_file(("[score]", "[secrecy]\nsteps = 5\n[score]"), ("copies = 5", "copies = 3"))
    done = CliRunner().invoke(cli, ["-p", "fpbench.testing.fakes", "plan", str(suite)])
    assert "at least 4" in str(done.exception)


def test_prepare_lists_what_is_there_and_what_is_missing(suite_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    base = ["-p", "fpbench.testing.fakes", "prepare"]
    done = CliRunner().invoke(cli, [*base, str(suite_file())])
    assert done.exit_code == 0
    assert "ready    data set toy-faces" in done.output
    assert "needs no weights" in done.output
    text = '[[backbones]]\nuse = "lpips-squeeze"\n[score]'
    named = str(suite_file(("[score]", text)))
    listed = CliRunner().invoke(cli, [*base, named, "--list"])
    assert listed.exit_code == 7
    assert "missing  weights of lpips-squeeze" in listed.output
    assert "squeezenet1_1-b8a52dc0.pth" in listed.output
    fetched = CliRunner().invoke(cli, [*base, named, "--json"])
    assert fetched.exit_code == 7
    (weights,) = [row for row in json.loads(fetched.output) if row["what"].startswith("weights")]
    assert "without internet" in weights["note"]

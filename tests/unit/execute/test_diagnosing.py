import json

import pytest
from click.testing import CliRunner

from fpbench.cli import exits
from fpbench.cli.main import cli
from fpbench.execute import diagnosing
from fpbench.execute.diagnosing import Grade, findings


@pytest.fixture
def look(tmp_path):
    """Findings by what they are about; of several the last."""

    def call(plugins=()):
        return {each.about: each for each in findings(plugins, tmp_path / "store", None)}

    return call


def test_a_machine_that_runs_the_tests_lacks_nothing(look):
    found = look()
    assert not [each for each in found.values() if each.grade is Grade.MISSING]
    assert "not there yet" in found["store"].text
    assert found["torch"].text[0].isdigit()


def test_damaged_leases_are_named(look, tmp_path):
    (tmp_path / "store" / "leases").mkdir(parents=True)
    (tmp_path / "store" / "leases" / ("a" * 64)).write_text("{")
    found = look()["leases"]
    assert found.grade is Grade.NOTE
    assert "a" * 64 in found.text


def test_a_module_that_cannot_be_loaded_is_missing(look):
    found = look(("no_such_module",))["plugins"]
    assert found.grade is Grade.MISSING
    assert "no_such_module" in found.text


def test_the_exit_code_says_that_something_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(diagnosing, "_links", lambda folder: False)
    done = CliRunner().invoke(cli, ["doctor", "--runs", str(tmp_path), "--json"])
    assert done.exit_code == exits.ENVIRONMENT
    assert [r["about"] for r in json.loads(done.output) if r["grade"] == "missing"] == [
        "hard links"
    ]

"""A method that is a program of its own, through whole suites."""

import shutil
import sys
from pathlib import Path

import fpbench_foreign
import pytest
from rows import value

from fpbench.api import Outcome
from fpbench.stages.context import _MADE

SERVER = Path(fpbench_foreign.__file__).with_name("server.py")
NEEDLESS = '[[methods]]\nuse = "blind"\n'


@pytest.fixture
def folder(tmp_path):
    """With the program that is given for copying."""
    folder = tmp_path / "program"
    folder.mkdir()
    shutil.copy(SERVER, folder)
    yield folder
    for name in [name for name in _MADE if str(folder) in name]:
        _MADE.pop(name).close()


@pytest.fixture
def suite(suite_file, folder):
    """The suite with the program in the place of "blind"."""

    def write(*replacements, program="server.py", more=""):
        table = (
            f'use = "foreign"\nbits = 16\nfolder = "{folder}"\n'
            f'command = ["{sys.executable}", "{program}"]\n{more}'
        )
        return suite_file(('use = "blind"', table), *replacements)

    return write


def outcomes(records, method="foreign"):
    mine = [r for r in records.values() if r["method"].get("label") == method]
    return {r["point"]["label"]: (r["outcome"], r["reason"]) for r in mine if not r["metric"]}


@pytest.mark.timeout(120)
def test_a_program_goes_through_a_suite(run_suite, suite, folder):
    summary, records, _ = run_suite(suite())
    assert summary.cells == {Outcome.DONE: 12, Outcome.REFUSED: 4}
    for method in ("perfect", "foreign"):
        assert value(records, method, "none", "bit-accuracy")["value"] == 1
    for point in ("none", "jpeg 90", "jpeg 50"):
        mine, other = (value(records, m, point, "attribution") for m in ("foreign", "perfect"))
        assert mine["value"] == pytest.approx(other["value"], abs=0.05)
    assert abs(value(records, "foreign", "bypass", "bit-accuracy")["value"] - 0.5) < 0.15
    sealed = outcomes(records)
    assert set(sealed) == {"weight-noise 0.1", "weight-noise 0.3", "fine-tune 1", "fine-tune 3"}
    for outcome, reason in sealed.values():
        assert outcome == Outcome.REFUSED
        assert "the marking step is opaque" in reason
    # One process for fit, five copies and all that is read.
    assert len([name for name in _MADE if str(folder) in name]) == 1

"""A method that is a program of its own, through whole suites."""

import shutil
import sys
from pathlib import Path

import fpbench_foreign
import pytest
import torch
from fpbench_foreign.plugin import Foreign, ForeignParams
from rows import value

from fpbench.api import Outcome, StageError
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.stages.context import _MADE, StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store
from fpbench.testing.fakes import TinyHost

SERVER = Path(fpbench_foreign.__file__).with_name("server.py")


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


FAULTY = """
import os, sys, time
import server

how = sys.argv[1]
if how == "garbage":
    print("Loading the model", flush=True)

def mark(images, code):
    if how == "dies" and code[0]:
        print("the driver is gone", file=sys.stderr, flush=True)
        os._exit(3)
    if how == "hangs":
        time.sleep(600)
    if how == "shape":
        return images[:, :, 1:]
    return images / 255 if how == "floats" else server.mark(images, code)

server.serve(mark, server.read)
"""
SAID = {
    "dies": ("StageError", "its end with exit code 3; start it by hand", "the driver is gone"),
    "hangs": ("StageError", "got none within 1 s", "raise timeout_s"),
    "garbage": ("ContractError", "got b'Loading the model", "print nothing else"),
    "floats": ("ContractError", "expected uint8 (1, 3, 32, 32)", "'dtype': 'float64'"),
    "shape": ("ContractError", "expected uint8 (1, 3, 32, 32)", "'shape': [1, 3, 31, 32]"),
}


@pytest.mark.timeout(120)
def test_a_program_that_fails_loses_its_own_cells(run_suite, suite_file, folder):
    (folder / "faulty.py").write_text(FAULTY)
    tables = "\n[[methods]]\n".join(
        f'use = "foreign"\nlabel = "{how}"\nbits = 16\nfolder = "{place}"\n'
        f"timeout_s = {1.0 if how == 'hangs' else 60.0}\ncommand = [{command}]\n"
        for how, place, command in [
            *((how, folder, f'"{sys.executable}", "faulty.py", "{how}"') for how in SAID),
            ("nowhere", folder / "gone", '"any"'),
            ("no program", folder, '"no-such-program"'),
        ]
    )
    _, records, _ = run_suite(suite_file(('use = "blind"', tables)))
    assert value(records, "perfect", "none", "bit-accuracy")["value"] == 1
    for how, parts in SAID.items():
        outcome, reason = outcomes(records, how)["none"]
        # What fails at the first image fails once, before there are copies.
        assert outcome == (Outcome.FAILED if how == "dies" else Outcome.BLOCKED)
        for part in parts:
            assert part in reason
    for how, said in (("nowhere", "expected its `folder`"), ("no program", "expected to start")):
        outcome, reason = outcomes(records, how)["none"]
        assert outcome == Outcome.UNAVAILABLE
        assert said in reason


@pytest.mark.timeout(120)
def test_a_checkpoint_that_changes_after_the_plan_fails_and_the_next_run_has_it(
    run_suite, suite, folder, monkeypatch
):
    fit = TinyHost.fit

    def changing(self, images, ctx):
        (folder / "checkpoint").write_text("another")
        return fit(self, images, ctx)

    monkeypatch.setattr(TinyHost, "fit", changing)
    _, records, _ = run_suite(suite())
    outcome, reason = outcomes(records)["none"]
    assert outcome == Outcome.BLOCKED
    assert "StageError: foreign: fit: expected the files of the plan" in reason
    assert "run again, which plans with what is there now" in reason
    monkeypatch.undo()
    summary, records, _ = run_suite(suite())
    assert summary.cells == {Outcome.DONE: 12, Outcome.REFUSED: 4}


def test_files_that_change_after_the_fit_are_found_when_they_are_opened(folder, tmp_path):
    params = ForeignParams(command=(sys.executable, "server.py"), folder=str(folder), bits=8)
    method, device = Foreign(params), torch.device("cpu")
    faces = ToyFaces(ToyFaces.Params.model_validate({"size": 32, "train": 4}))
    ctx = StageContext(device, (0,), Store(tmp_path / "store"))
    state = method.fit(None, SplitStream(faces, "train", device), ctx)
    _MADE.popitem()[1].close()  # as in a process that has opened nothing yet
    (folder / "checkpoint").write_text("another")
    with pytest.raises(StageError, match="method foreign: expected the files of the plan"):
        method.embedder(state, ctx)


@pytest.mark.timeout(120)
def test_workers_have_their_own_programs_and_none_stays(run_suite, suite, folder):
    summary, there, _ = run_suite(suite(), store="there", folder="there", jobs=2, here=False)
    assert summary.cells == {Outcome.DONE: 12, Outcome.REFUSED: 4}
    places = [process for process in Path("/proc").glob("[0-9]*/cwd") if process.exists()]
    assert folder not in [process.resolve() for process in places]
    _, here, _ = run_suite(suite(), store="here", folder="here")
    for metric, variant in (("bit-accuracy", ""), ("verification", "fpr=0.01")):
        rows = [value(each, "foreign", "jpeg 50", metric, variant) for each in (there, here)]
        assert rows[0]["value"] == rows[1]["value"]

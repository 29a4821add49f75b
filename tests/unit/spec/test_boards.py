"""Boards are run with the settings that their numbers were made with."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from fpbench.api import SpecError
from fpbench.publish.merging import unlike
from fpbench.registry import load
from fpbench.spec import read_suite, suite_names, suite_text
from fpbench.spec.boards import places

BOARDS = Path(__file__).parents[3] / "leaderboards"
FAKES = ("fpbench.testing.fakes",)
SUITE = r"""
[suite]
name = "all-there-is"
title = 'C:\"quoted" – ✓'
description = "two\nlines\u007f"
[dataset]
use = "image-folder"
path = "/home/me/faces.zip"
[host]
use = "tiny-host"
[population]
copies = 6
[training]
seeds = [2, 0]
[score]
false_rate = 1e-5
[[methods]]
use = "perfect"
[[methods]]
use = "perfect"
label = "longer"
bits = 24
copies = 3
codes = { use = "bch", errors = 2 }
[[methods]]
use = "blind"
codes = { use = "bch", errors = 1 }
[[attacks]]
use = "jpeg"
quality = [50, 90]
scored = [90]
subsampling = "444"
[[attacks]]
use = "chain"
label = "both"
[[attacks.parts]]
use = "jpeg"
quality = 70
[[attacks.parts]]
use = "flip"
[[attacks]]
use = "fine-tune"
steps = [1]
copies = 3
clean_images = 8
tune = { learning_rate = [1e-4, 1e-3] }
[[attacks]]
use = "leaked-code"
[[crosses]]
model = "fine-tune"
image = "jpeg"
[[backbones]]
use = "inception"
[[strangers]]
use = "tiny-host"
label = "another"
"""


def bare(value):
    """As a file has it, without texts about components."""
    if isinstance(value, dict):
        return {k: bare(v) for k, v in value.items() if k != "card"}
    return [bare(v) for v in value] if isinstance(value, list | tuple) else value


def board(folder, suite):
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "suite.json").write_text(json.dumps(suite))
    (folder / "submissions.json").write_text('{"submissions": []}')
    (folder / "suite.toml").write_text("[suite]\nname = 'as it was once'\n")
    return str(folder)


@pytest.mark.parametrize(
    "folder",
    [file.parent for file in sorted(BOARDS.glob("*/submissions.json"))],
    ids=lambda folder: folder.name,
)
def test_every_board_of_this_repository_can_be_joined(folder):
    suite = read_suite(str(folder), load(())).resolved()
    there = json.loads((folder / "suite.json").read_text())
    assert unlike(there, json.loads(json.dumps(suite))) == []


@pytest.mark.parametrize("name", suite_names())
def test_every_shipped_suite_is_itself_again_as_a_board(name, tmp_path):
    catalogue = load(())
    suite = read_suite(name, catalogue).resolved()
    again = read_suite(board(tmp_path / "b", suite), catalogue).resolved()
    assert bare(again) == bare(suite)


@pytest.fixture
def resolved(tmp_path):
    (tmp_path / "all.toml").write_text(SUITE)
    return read_suite(str(tmp_path / "all.toml"), load(FAKES)).resolved()


def test_whatever_a_suite_may_say_is_said_again(resolved, tmp_path):
    again = read_suite(board(tmp_path / "b", resolved), load(FAKES)).resolved()
    assert bare(again) == bare(resolved)
    assert bare(json.loads(json.dumps(again))) == bare(json.loads(json.dumps(resolved)))


def test_boards_of_former_versions_do_not_say_how_many_copies_a_method_issues(resolved, tmp_path):
    methods = [{k: v for k, v in m.items() if k != "copies"} for m in resolved["methods"]]
    older = {k: v for k, v in resolved.items() if k != "strangers"} | {"methods": methods}
    again = read_suite(board(tmp_path / "b", older), load(FAKES)).resolved()
    assert {method["copies"] for method in again["methods"]} == {6}


def test_a_board_is_run_with_another_method_and_the_places_of_ones_own(resolved, tmp_path):
    suite = read_suite(
        board(tmp_path / "b", resolved),
        load(FAKES),
        assignments=("dataset.path=/mine",),
        methods=("perfect[label=newcomer]",),
    )
    assert [m.label for m in suite.methods] == ["newcomer"]
    assert (suite.population.copies, suite.training.seeds) == (6, (2, 0))
    assert suite.dataset.params.path == "/mine"


def test_the_text_names_the_command_and_what_is_to_be_brought(resolved, tmp_path):
    text = suite_text(board(tmp_path / "b", resolved), FAKES)
    assert "#   fpbench run BOARD -m METHOD --set dataset.path=PATH\n" in text
    assert "# dataset.path: a place on your machine" in text
    assert "/home/me" not in text
    assert places(resolved, load(FAKES)) == ["dataset.path"]


def test_a_place_within_a_list_is_named_in_a_copy(resolved, tmp_path):
    resolved["attacks"] = [
        {
            **resolved["attacks"][-1],
            "label": "redrawn\n[[attacks]]",
            "name": "regenerate",
            "version": load(()).component("attacks", "regenerate").version,
            "params": {"autoencoder": "vae"},
        }
    ]
    text = suite_text(board(tmp_path / "b", resolved), FAKES)
    assert "# attacks redrawn [[attacks]].autoencoder: a place on your machine" in text
    assert [each["label"] for each in tomllib.loads(text)["attacks"]] == ["redrawn\n[[attacks]]"]
    assert "name it with a copy of this file." in text
    assert "--set attacks" not in text


def test_components_that_cannot_give_the_boards_numbers_are_named_before_a_run(resolved, tmp_path):
    resolved["host"]["version"] = "0"
    resolved["attacks"][0]["name"] = "unheard-of"
    with pytest.raises(SpecError) as raised:
        suite_text(board(tmp_path / "b", resolved), FAKES)
    host, attack = raised.value.problems
    assert "host tiny-host: the board's numbers were made with version 0, installed is" in host
    assert "attack unheard-of: expected it to be installed" in attack


@pytest.mark.parametrize("text", ["[]", "{", '{"suite": 3}', "{}"])
def test_a_broken_board_is_named(text, resolved, tmp_path):
    folder = board(tmp_path / "b", resolved)
    (tmp_path / "b" / "suite.json").write_text(text)
    with pytest.raises(SpecError, match=r"suite\.json: expected a resolved suite, got another"):
        suite_text(folder)


def test_before_its_first_submission_a_board_is_its_source(tmp_path):
    (tmp_path / "suite.toml").write_text(SUITE)
    assert suite_text(str(tmp_path)) == SUITE


def test_the_folder_of_a_run_is_no_board(resolved, tmp_path):
    folder = board(tmp_path / "run", resolved)
    (tmp_path / "run" / "submissions.json").unlink()
    (tmp_path / "run" / "request.json").write_text("{}")
    with pytest.raises(SpecError, match="unknown suite"):
        suite_text(folder)
    shutil.rmtree(folder)
    with pytest.raises(SpecError, match="or the folder of a board"):
        suite_text(folder)

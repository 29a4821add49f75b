"""Every suite that comes with fpbench can be planned on as many images as its data set has."""

import re
import zipfile
from pathlib import Path

import pytest

from fpbench.builtin.published_sets.datasets import Published
from fpbench.execute.request import Request
from fpbench.plan import DataFacts
from fpbench.registry import load
from fpbench.spec import read_suite

BOARDS = Path(__file__).parents[3] / "leaderboards"


def archive(board, path):
    """A zip with as many images, each of one colour, as the board's README asks for."""
    asked = re.search(r"at least ([\d,]+) images", (board / "README.md").read_text())
    with zipfile.ZipFile(path, "w") as file:
        for index in range(int(asked.group(1).replace(",", ""))):
            file.writestr(f"{index}.ppm", b"P6 1 1 255 " + index.to_bytes(3, "big"))
    return f"dataset.path={path}"


@pytest.mark.parametrize("name", sorted(p.parent.name for p in BOARDS.glob("*/suite.toml")))
def test_a_shipped_suite_asks_for_no_more_images_than_there_are(name, tmp_path):
    dataset = read_suite(name, load()).dataset
    assignments, facts = (), None
    if isinstance(dataset, Published):
        facts = DataFacts(dataset.size, dataset.counts, "not prepared")
    elif dataset.name == "image-folder":
        assignments = (archive(BOARDS / name, tmp_path / "images.zip"),)
    plan, _ = Request(name, assignments=assignments, data=facts).plan()
    suite, there = plan.suite, plan.facts.counts["test"]
    assert suite.carriers_from + suite.carriers <= there
    assert plan.facts.counts["train"] == dataset.params.train
    assert [cell for cell in plan.cells if cell.refusal is None]

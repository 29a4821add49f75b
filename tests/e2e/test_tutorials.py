"""What the documentation builds step by step is built and run as it stands there."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def written(page, name):
    """The file that a reader has who puts its pieces one behind the other."""
    text = (ROOT / "docs" / page).read_text()
    return "\n\n\n".join(
        re.findall(rf'```python title="{re.escape(name)}"\n(.*?)\n```', text, re.S)
    )


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a file of a page and imports it; nothing of it stays."""
    monkeypatch.syspath_prepend(tmp_path)

    def load(page, name):
        (tmp_path / name).write_text(written(page, name))
        stem = name.removesuffix(".py")
        spec = importlib.util.spec_from_file_location(stem, tmp_path / name)
        made = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, stem, made)
        spec.loader.exec_module(made)
        return made

    return load


def test_the_method_of_the_afternoon_keeps_its_promises(module, tmp_path):
    stdm = module("afternoon.md", "stdm.py")
    assert "torch" not in vars(stdm)
    module("afternoon.md", "test_stdm.py").test_method_keeps_the_contract(tmp_path / "check")
    smooth = stdm.Stdm.Params(cells=4)
    assert smooth.cells == 4


def test_its_parameters_are_described(module):
    from fpbench.registry.describing import parameters

    stdm = module("afternoon.md", "stdm.py")
    bits, step, cells = parameters(stdm.Stdm.Params)
    assert (bits.default, bits.legal) == ("32", "whole number, 1 to 256")
    assert step.legal == "number, above 0"
    assert cells.meaning.startswith("side of the grid")


@pytest.mark.timeout(300)
def test_the_attacks_are_run_beside_the_method(module, run_suite, suite_file):
    module("attack.md", "my_attacks.py")
    module("afternoon.md", "stdm.py")
    _, records, _ = run_suite(
        suite_file(),
        plugins=("my_attacks", "stdm"),
        methods=("stdm[bits=16]", "perfect"),
        attacks=("pixelate[side=1,4]", "clip-weights[limit=3,1]"),
    )
    said = {
        (r["method"]["label"], r["point"]["label"]): r["value"]
        for r in records.values()
        if (r["metric"], r["variant"]) == ("bit-accuracy", "")
    }
    assert said["stdm", "none"] == said["stdm", "pixelate 1"] > 0.99
    assert said["stdm", "pixelate 4"] < 0.9
    assert set(points := [point for label, point in said if label == "stdm"]) >= {
        "clip-weights 3",
        "clip-weights 1",
    }, points


@pytest.mark.timeout(600)
def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())["cells"]
    names = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)  # noqa: S102 - our own notebook
    run = names["run"]
    assert run.folder == Path("runs/notebook")
    assert names["images"].shape == (4, 32, 32, 3)
    assert names["logits"].shape == (4, 8)
    assert set(names["bits"]["point"]) == {"none", "jpeg 90", "jpeg 50", "bypass"}

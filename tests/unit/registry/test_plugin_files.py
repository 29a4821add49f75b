import shutil
import subprocess
import sys

import pytest

from fpbench.api import PluginError
from fpbench.plan.identity import digest_of_source
from fpbench.registry import load

METHOD = """
from fpbench.api import hookimpl
from fpbench.testing.fakes import {base}

class Mine({base}):
    "A method of one file."
    name = "{name}"

@hookimpl
def fpbench_methods():
    return [Mine]
"""


@pytest.fixture
def written(tmp_path):
    """Writes a plugin of one file; what was loaded of it is forgotten."""

    def write(name, folder="", base="Perfect", method="mine"):
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(METHOD.format(base=base, name=method))
        return path

    yield write
    for name in [name for name in sys.modules if name.startswith("fpbench_file_")]:
        del sys.modules[name]
    digest_of_source.cache_clear()


def test_a_file_is_a_plugin_whose_text_is_in_the_keys(written):
    path = written("my-method.py")
    catalogue = load([str(path)])
    assert (
        catalogue.origin("methods", "mine") == "my-method.py"
    )  # where it lies is nobody's business
    first = digest_of_source(catalogue.component("methods", "mine").__module__)
    assert len(first) == 64
    again = load([str(path)])
    assert again.component("methods", "mine") is catalogue.component("methods", "mine")


def digest(path):
    """Of the source of a method, in a process of its own."""
    script = (
        "from fpbench.plan.identity import source_digest; from fpbench.registry import load; import"
        f" sys; print(source_digest(load([{str(path)!r}]).component('methods', 'mine').__module__))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_only_the_text_of_a_file_counts_and_not_its_place(written, tmp_path):
    path = written("mine.py")
    moved = tmp_path / "elsewhere" / "mine.py"
    moved.parent.mkdir()
    shutil.copy(path, moved)
    before = digest(path)
    assert digest(moved) == before
    written("mine.py", base="Blind")
    assert digest(path) != before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./nothing.py", "expected a Python file, got nothing.py, which is none"),
        ("some/folder", "expected a Python file, got some/folder"),
    ],
)
def test_what_is_no_file_is_said(name, said):
    with pytest.raises(PluginError, match=said):
        load([name])


def test_two_files_of_one_name_and_a_changed_one_are_said(written):
    path = written("mine.py")
    load([str(path)])
    with pytest.raises(PluginError, match=r"expected one file called mine\.py"):
        load([str(written("mine.py", folder="other"))])
    written("mine.py", base="Blind")
    with pytest.raises(PluginError, match="start Python anew"):
        load([str(path)])


def test_a_file_with_a_fault_is_said_and_forgotten(written):
    path = written("mine.py")
    text = path.read_text()
    path.write_text("1 / 0")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        load([str(path)])
    path.write_text(text)
    assert "mine" in load([str(path)]).names("methods")


def test_a_single_file_runs_and_is_verified(written, command, suite_file, tmp_path):
    path = written("mine.py")
    suite = suite_file(('use = "blind"', 'use = "mine"'), ("steps = [1, 3]", "steps = [1]"))
    plugins = ("-p", "fpbench.testing.fakes", "-p", path)
    code, _, err = command(
        *plugins, "run", suite, "--runs", tmp_path / "runs", "--no-page", "-j", 1
    )
    assert code == 0, err
    bundle = tmp_path / "mine.zip"
    assert command(*plugins, "export", tmp_path / "runs" / "fakes", "-o", bundle)[0] == 0
    code, out, _ = command(*plugins, "verify", bundle)
    assert (code, "RE-SCORED" in out) == (0, True)
    code, out, _ = command(*plugins, "board", "add", bundle, tmp_path / "board")
    assert code == 0, out

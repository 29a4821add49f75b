"""The documentation site is built without a warning, and says what the code says."""

import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fpbench.cli.main import cli
from fpbench.registry import load

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ASSET = re.compile(
    r"<(?:script|img|iframe|source)[^>]*\ssrc=[\"']?(https?:)?//|"
    r"<link[^>]*\srel=[\"']?(?:stylesheet|preload|icon)[^>]*href=[\"']?(https?:)?//|"
    r"url\(\s*[\"']?(https?:)?//|@import"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documentation") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


@pytest.mark.timeout(300)
def test_no_page_of_the_site_asks_another_host_for_anything(site):
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 50
    for page in pages:
        assert not ASSET.search(page.read_text()), page


@pytest.mark.timeout(300)
def test_the_reference_has_every_verb_component_and_name(site):
    from fpbench import api

    commands = (site / "reference" / "commands.html").read_text()
    for name, command in verbs():
        assert f"fpbench {name}" in commands
        for option in command.params:
            if isinstance(option, click.Option):
                assert f"<code>{option.opts[-1]}</code>" in commands, (name, option.opts)
    pages = "".join(p.read_text() for p in (site / "reference").glob("*.html"))
    catalogue = load()
    for kind in ("hosts", "methods", "attacks", "codes", "datasets", "clusters"):
        for name in catalogue.names(kind):
            assert f'id="{kind}-{name}"' in pages
    for name in api.__all__:
        assert f'id="fpbench-api-{name}"' in pages
    for name in catalogue.names("metrics"):
        assert f"<code>{name}</code>" in pages


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_of_the_docs_are_there(page):
    """Verbs and options of every shell block; not what they do."""
    known = {name: one for name, one in verbs()}
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "fpbench" not in words[:3] or "eval" in words:
                continue
            words = words[words.index("fpbench") + 1 :]
            while words and words[0].startswith("-"):  # of all verbs; -p takes a value
                words = words[2:] if words[0] in ("-p", "-P", "--plugin") else words[1:]
            name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in known), "")
            assert name or not words, line
            options = {o for p in known[name].params for o in (*p.opts, *p.secondary_opts)}
            written = {w.partition("=")[0] for w in words if re.match(r"--?[a-zA-Z]", w)}
            assert written <= {*options, "-h", "--help"}, line


def test_formulas_are_computed_as_they_are_written():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "numbers.md").read_text(), re.S)
    assert len(blocks) > 3
    exec("\n".join(blocks), {"math": math})  # noqa: S102 - our own page


def test_the_notebook_is_one_and_has_no_output():
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert re.fullmatch(r"[\w-]{1,64}", cell["id"])


def verbs(command=cli, path=()):
    if isinstance(command, click.Group):
        return [
            each for name, one in command.commands.items() for each in verbs(one, (*path, name))
        ]
    return [(" ".join(path), command)]

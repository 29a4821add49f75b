import re
from pathlib import Path

import pytest

from fpbench.registry import load

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_method_in_the_readme_is_the_template():
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.S)
    template = ROOT / "plugins" / "template" / "fpbench_template" / "plugin.py"
    assert blocks == [template.read_text()]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_pictures_of_the_docs_are_there(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        # Pages that are made while the site is built: its test looks for their links.
        made = target.startswith("reference/") or target in ("notebook.md", "decisions/index.md")
        if "://" not in target and not made:
            assert (page.parent / target).exists(), target


def test_commands_of_the_readme_are_those_that_ci_runs():
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", readme, re.S)
    assert blocks[0].strip() == "uv run fpbench run quickstart"
    assert blocks[1].strip() == "uv run tox"
    assert "\nuv run tox " in (ROOT / ".ci" / "run").read_text()


def test_the_guide_knows_every_exit_code_and_command():
    from fpbench.cli import exits
    from fpbench.cli.main import cli

    guide = (ROOT / "docs" / "guide.md").read_text()
    codes = [v for k, v in vars(exits).items() if k.isupper() and type(v) is int]
    for code in codes:
        assert re.search(rf"\b{code} ", guide), code
    for name in cli.commands:
        assert name in guide, name


def test_every_hook_is_documented():
    from fpbench.api import hooks

    text = (ROOT / "docs" / "plugins.md").read_text()
    for name in vars(hooks):
        if name.startswith("fpbench_"):
            assert name in text, name


def test_cards_cite_their_source():
    catalogue = load()
    for kind in ("hosts", "methods", "attacks"):
        for name in catalogue.names(kind):
            assert catalogue.component(kind, name).card.source, name

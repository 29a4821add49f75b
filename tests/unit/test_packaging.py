import ast
import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_lists_in_pyproject_equal_the_folders():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {
        path.parent.relative_to(ROOT).as_posix()
        for kind in ("generators", "methods", "attacks")
        for path in (ROOT / "plugins" / kind).glob("*/fpbench_*/plugin.py")
    }
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert packages == folders | {"fpbench"}
    names = {folder.rpartition("/")[2] for folder in folders}
    points = project["project"]["entry-points"]["fpbench"].values()
    assert set(points) == {f"{name}.plugin" for name in names} | {"fpbench.builtin.plugin"}
    linter = project["tool"]["importlinter"]
    assert set(linter["root_packages"]) == names | {"fpbench"}
    assert set(linter["contracts"][1]["source_modules"]) == names
    assert set(linter["contracts"][2]["modules"]) == names


def test_suites_are_shipped():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    suites = {p.relative_to(ROOT).as_posix() for p in ROOT.glob("leaderboards/*/suite.toml")}
    assert set(shipped) == suites | {"plugins/template", "plugins/kinds"}


def test_messages_lead_to_nothing_that_a_wheel_lacks():
    """No file of the repository, and no command of uv alone."""
    folders = [ROOT / "fpbench", *(ROOT / "plugins").glob("*/*/fpbench_*")]
    beside = re.compile(r"\bdocs/|README|CONTRIBUTING|\bscripts/|\btests/|\bplugins/")
    for path in (file for folder in folders for file in folder.rglob("*.py")):
        for text in _said(ast.parse(path.read_text())):
            assert not beside.search(text), (path, text)
            for extra in re.findall(r"uv sync --extra (\w+)", text):
                assert f"pip install 'fpbench[{extra}]'" in text, (path, text)


def test_forms_and_citation_can_be_read():
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert {path.stem for path in forms} == {"attack", "config", "method", "number"}
    for path in forms:
        form = yaml.safe_load(path.read_text())
        parts = form.get("body", [])
        assert len({part["id"] for part in parts}) == len(parts)
        assert all(part["attributes"]["label"] for part in parts)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])


def _said(tree):
    """Texts of a module that are no docstrings, with what is filled in left out."""
    bodies = [n.body for n in ast.walk(tree) if isinstance(getattr(n, "body", None), list)]
    docs = {id(each.value) for body in bodies for each in body if isinstance(each, ast.Expr)}
    parts = {id(p) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for p in n.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(p.value for p in node.values if isinstance(p, ast.Constant))
        elif isinstance(node, ast.Constant) and id(node) not in docs | parts:
            yield str(node.value)

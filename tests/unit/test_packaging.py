import tomllib
from pathlib import Path

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

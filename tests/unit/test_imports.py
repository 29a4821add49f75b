import tomllib
from pathlib import Path

import grimp  # what import-linter reads imports with

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def circles(graph):
    """Sets of modules each of which imports every other one, directly or through others."""
    found = set()
    for module in graph.modules:
        both = graph.find_upstream_modules(module) & graph.find_downstream_modules(module)
        found.add(frozenset(both | {module}))
    return [circle for circle in found if len(circle) > 1]


def test_imports_never_go_in_circles():
    packages = tomllib.loads(PROJECT.read_text())["tool"]["importlinter"]["root_packages"]
    # Imports inside functions and for types alone are among them.
    graph = grimp.build_graph(*packages, exclude_type_checking_imports=False, cache_dir=None)
    links = [
        f"{importer} -> {imported}"
        for circle in circles(graph)
        for importer in circle
        for imported in graph.find_modules_directly_imported_by(importer) & circle
    ]
    assert not links, "modules import one another:\n" + "\n".join(sorted(links))

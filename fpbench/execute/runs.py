"""Runs that were made: found by folder or name, with the plan that made them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fpbench.api import SpecError
from fpbench.api.errors import nearest
from fpbench.execute.request import Request, read_request
from fpbench.plan import Graph, Plan, graph_of
from fpbench.registry import Catalogue
from fpbench.store import Store


@dataclass(frozen=True)
class OpenRun:
    """A run with its plan.

    Attributes:
        folder: its own folder.
        request: what was asked.
        plan: what that comes to with the plugins that are installed now.
        catalogue: those plugins.
        store: its artefacts.
    """

    folder: Path
    request: Request
    plan: Plan
    catalogue: Catalogue
    store: Store

    @cached_property
    def graph(self) -> Graph:
        """Its stages."""
        return graph_of(self.plan)


def runs_in(folder: Path) -> Iterator[Path]:
    """The folders of runs that lie in a folder, by name."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if (path / "request.json").is_file():
            yield path


def run_folder(run: str, runs: Path) -> Path:
    """The folder of a run that is named by its path, or by its name in a folder of runs.

    Raises:
        SpecError: neither is there; says which there are.
    """
    for folder in (Path(run), runs / run):
        if (folder / "request.json").is_file():
            return folder
    there = nearest(run, (path.name for path in runs_in(runs)))
    raise SpecError(
        [
            f"run {run}: expected the folder of a run with a request.json, or its name in {runs}, "
            f"got neither{there or '; `fpbench run SUITE` makes one'}"
        ]
    )


def store_of(folder: Path, store: Path | None = None) -> Path:
    """Where the artefacts of a run lie: where the caller says, else beside it.

    Raises:
        SpecError: there is no such folder.
    """
    root = store or folder.parent / "store"
    if not root.is_dir():
        raise SpecError(
            [f"store {root}: expected the artefacts of {folder}, got no folder; name it by --store"]
        )
    return root


def open_run(folder: Path, plugins: tuple[str, ...], store: Path | None = None) -> OpenRun:
    """A run with the plan that its request makes today.

    Args:
        folder: of the run.
        plugins: further plugin modules.
        store: folder of its artefacts; None = beside the run.

    Raises:
        SpecError: there is no request or no store, or the suite names what is not installed.
    """
    root = store_of(folder, store)
    request = read_request(folder, plugins, root)
    plan, catalogue = request.plan()
    return OpenRun(folder, request, plan, catalogue, Store(root))

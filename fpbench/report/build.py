"""Builds pages from records alone, and leaves up-to-date ones as they are.

This module imports nothing heavy: to learn that nothing has changed costs a few file digests.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

_STAMP = ".inputs"
_INPUTS = ("records.jsonl", "suite.json", "suite.toml", "submissions.json", "beside.json")
_PACKAGE = Path(__file__).parent
_SOURCES = (_PACKAGE, _PACKAGE.parent / "stats")


def build_page(run_folder: Path, output: Path) -> Path:
    """Render the page of a run into `output` and return its index.html.

    The page is made beside `output` and swapped in whole. Equal inputs give equal bytes; nothing
    is written when the page there was made from the same inputs by the same source.

    Args:
        run_folder: holds records.jsonl, suite.json and, optionally, samples/.
        output: the page's folder; replaced as a whole.

    Raises:
        SpecError: `output` holds files that are not a page.
        StoreError: an input file is not what a run writes.
    """

    def write(fresh: Path) -> None:
        from fpbench.report.inputs import read_inputs
        from fpbench.report.site import write_board

        write_board(read_inputs(run_folder), fresh)

    return _build(output, inputs_digest([run_folder]), write)


def build_site(folders: Sequence[Path], output: Path, title: str) -> Path:
    """Render several runs or boards, and a page over them; else as `build_page`."""

    def write(fresh: Path) -> None:
        from fpbench.report.boards import write_boards

        write_boards(folders, fresh, title)

    return _build(output, inputs_digest(folders, title), write)


def inputs_digest(folders: Iterable[Path], title: str = "") -> str:
    """SHA-256 over all that pages are made of: records, suites, samples, and this source."""
    whole = hashlib.sha256(title.encode())
    for folder in folders:
        whole.update(f"{folder.name}\0".encode())
        for name, path in _parts(folder):
            whole.update(f"{name}\0{_digest(path)}\0".encode())
    for package in _SOURCES:
        for path in sorted(package.rglob("*")):
            if path.is_file() and path.suffix in {".py", ".j2", ".css", ".js"}:
                whole.update(f"{path.relative_to(package.parent)}\0{_digest(path)}\0".encode())
    return whole.hexdigest()


def _parts(folder: Path) -> Iterable[tuple[str, Path]]:
    for name in _INPUTS:
        if (folder / name).is_file():
            yield name, folder / name
    samples = folder / "samples"
    if samples.is_dir():
        for path in sorted(samples.iterdir()):
            if path.is_file():
                yield f"samples/{path.name}", path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _build(output: Path, stamp: str, write: Callable[[Path], None]) -> Path:
    index = output / "index.html"
    if index.is_file() and _read(output / _STAMP) == stamp:
        return index
    _refuse_foreign(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh = output.parent / f".{output.name}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    from fpbench.store import no_collector
    from fpbench.store.objects import replace_folder

    with no_collector():
        write(fresh)
    (fresh / _STAMP).write_text(stamp, encoding="ascii")
    replace_folder(fresh, output)
    return index


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace") if path.is_file() else ""


def _refuse_foreign(output: Path) -> None:
    # The folder is replaced as a whole, so it must be ours.
    if output.is_dir() and any(output.iterdir()) and not (output / _STAMP).is_file():
        from fpbench.api import SpecError

        raise SpecError(
            [f"page: expected an empty folder or an earlier page, got {output}; name another one"]
        )

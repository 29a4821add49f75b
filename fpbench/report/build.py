"""Builds the page of a run from its records alone, and leaves an up-to-date page as it is.

This module imports nothing heavy: to learn that nothing has changed costs a few file digests.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

_STAMP = ".inputs"
_INPUTS = ("records.jsonl", "suite.json")
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
    index = output / "index.html"
    stamp = inputs_digest(run_folder)
    if index.is_file() and _read(output / _STAMP) == stamp:
        return index
    _refuse_foreign(output)

    from fpbench.report.inputs import read_inputs
    from fpbench.report.site import write_site

    output.parent.mkdir(parents=True, exist_ok=True)
    fresh = output.parent / f".{output.name}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    write_site(read_inputs(run_folder), fresh)
    (fresh / _STAMP).write_text(stamp, encoding="ascii")
    _swap(fresh, output)
    return index


def inputs_digest(run_folder: Path) -> str:
    """SHA-256 over all that the page is made of: records, suite, samples, and this source."""
    whole = hashlib.sha256()
    for name, path in _parts(run_folder):
        whole.update(f"{name}\0".encode())
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _parts(run_folder: Path) -> Iterable[tuple[str, Path]]:
    for name in _INPUTS:
        if (run_folder / name).is_file():
            yield name, run_folder / name
    samples = run_folder / "samples"
    if samples.is_dir():
        for path in sorted(samples.iterdir()):
            if path.is_file():
                yield f"samples/{path.name}", path
    for folder in _SOURCES:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in {".py", ".j2", ".css", ".js"}:
                yield f"{folder.name}/{path.relative_to(folder).as_posix()}", path


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace") if path.is_file() else ""


def _refuse_foreign(output: Path) -> None:
    # The folder is replaced as a whole, so it must be ours.
    if output.is_dir() and any(output.iterdir()) and not (output / _STAMP).is_file():
        from fpbench.api import SpecError

        raise SpecError(
            [f"page: expected an empty folder or an earlier page, got {output}; name another one"]
        )


def _swap(fresh: Path, output: Path) -> None:
    former = output.parent / f".{output.name}.old"
    shutil.rmtree(former, ignore_errors=True)
    if output.exists():
        output.rename(former)
    fresh.rename(output)
    shutil.rmtree(former, ignore_errors=True)

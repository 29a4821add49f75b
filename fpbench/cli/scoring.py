"""`score`: every number of a run again, from what is stored."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fpbench.cli import exits
from fpbench.cli.options import beside_option, json_option

if TYPE_CHECKING:
    from fpbench.execute.rescoring import Rescored

_SHOWN = 12


@click.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path, file_okay=False))
@beside_option
@click.option("--check", is_flag=True, help="Only compare with the stored numbers; write nothing.")
@click.option(
    "--images",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write what is read from every image, with its p-values, as CSV.",
)
@json_option
@click.pass_obj
def score(
    plugins: tuple[str, ...],
    folder: Path,
    store: Path | None,
    check: bool,
    images: Path | None,
    as_json: bool,
) -> None:
    """Recompute every number of RUN, a folder like runs/quickstart, without a network or an image.

    Readings, measures of pairs and features come from the store; no weights are needed. Numbers
    that an older version of fpbench made are superseded by today's. With --check nothing is
    written, and the exit code is 1 if a number differs.
    """
    from fpbench.execute.request import read_request
    from fpbench.execute.rescoring import image_rows, rescore
    from fpbench.report.build import build_page
    from fpbench.store import Store

    request = read_request(folder, plugins, store or folder.parent / "store")
    plan, _ = request.plan()
    command = f"fpbench score {folder}"
    found = rescore(plan, request, folder, command, write=not check)
    if images is not None:
        _write_csv(images, image_rows(plan, Store(Path(request.store))))
    page = build_page(folder, folder / "page") if not check else None
    if as_json:
        click.echo(json.dumps({**vars(found), "page": str(page) if page else None}))
    else:
        _say(found, page)
    if check and (found.changed or found.fresh or found.lacking or found.failed):
        sys.exit(exits.VERIFICATION_FAILED)
    if not found.cells:
        sys.exit(exits.NOTHING_MEASURED)
    if found.failed:
        sys.exit(exits.CELLS_FAILED)


def _say(found: Rescored, page: Path | None) -> None:
    click.echo(
        f"{found.numbers:,} numbers of {found.cells} cells recomputed: {len(found.changed)} "
        f"changed, {found.fresh} cells had none of this version"
    )
    for cell, name, before, after in found.changed[:_SHOWN]:
        click.echo(f"  {cell}: {name}: {before} → {after}")
    if len(found.changed) > _SHOWN:
        click.echo(f"  … and {len(found.changed) - _SHOWN} more")
    for cell, reason in found.failed[:_SHOWN]:
        click.echo(f"  {cell}: {reason}")
    if found.lacking:
        click.echo(f"{len(found.lacking)} cells lack readings; run the suite to make them")
    if page is not None:
        click.echo(f"Open the leaderboard: {page.resolve().as_uri()}")


def _write_csv(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    first = next(rows, None)
    with path.open("w", newline="", encoding="utf-8") as file:
        if first is not None:
            writer = csv.DictWriter(file, list(first))
            writer.writeheader()
            writer.writerow(first)
            writer.writerows(rows)

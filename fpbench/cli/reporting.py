"""`report`: pages from records."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fpbench.cli.options import json_option


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--all",
    "root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Every run or board that is a folder in FOLDER, e.g. leaderboards/; also those without "
    "numbers yet.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the pages go; default: RUN/page. One place for several: an overview, and a folder "
    "for each.",
)
@click.option(
    "--beside",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="OTHER",
    help="Another run or board whose methods of the same label and bits stand beside those of RUN, "
    "e.g. of images beside sounds; kept in RUN.",
)
@click.option("--title", default="Leaderboards", show_default=True, help="Of the overview.")
@json_option
def report(
    runs: tuple[Path, ...],
    root: Path | None,
    output: Path | None,
    beside: Path | None,
    title: str,
    as_json: bool,
) -> None:
    """Render the pages of RUN folders, or of boards, from their records alone.

    The pages are static files: they open from disk, and on any web server.
    """
    from fpbench.api import SpecError
    from fpbench.report.build import build_page, build_site

    if root is not None:
        from fpbench.report.boards import folders_in

        runs += tuple(folders_in(root))
    if not runs:
        raise SpecError(["report: expected RUN folders or --all FOLDER, got neither"])
    if beside is not None:
        if len(runs) != 1:
            raise SpecError([f"report --beside: expected one RUN, got {len(runs)}"])
        from fpbench.report.beside import stand

        stand(runs[0], beside)
    whole = root is not None or len(runs) > 1
    if root is not None and output is None:
        raise SpecError([f"report --all: expected -o FOLDER for the site of {root}, got none"])
    if whole and output is not None:
        made = [build_site(runs, output, title)]
    else:
        made = [build_page(folder, output or folder / "page") for folder in runs]
    if as_json:
        click.echo(json.dumps([str(index) for index in made]))
        return
    for index in made:
        click.echo(f"Open the leaderboard: {index.resolve().as_uri()}")

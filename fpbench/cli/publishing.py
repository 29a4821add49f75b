"""`export`, `verify`, `board add`: a run as others can check it, and the boards made of such."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fpbench.cli import exits
from fpbench.cli.options import beside_option, json_option

if TYPE_CHECKING:
    from fpbench.publish.board import Added
    from fpbench.publish.verify import Verification

_SHOWN = 20
_BUNDLE = click.Path(path_type=Path, exists=True)


@click.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="BUNDLE.zip",
    help="The file to write.",
)
@beside_option
@click.option("--submitter", default="", help="How you want to be called on the board.")
@click.option("--note", default="", help="A line for those who read the board.")
@click.option(
    "--keep-real",
    is_flag=True,
    help="Keep images of the data set; only where no real person is on them.",
)
@click.option(
    "--no-readings",
    is_flag=True,
    help="Leave out what numbers are made of again; the bundle will be self-reported.",
)
@click.option(
    "--weights",
    is_flag=True,
    help="Put in the trained states of host and methods, which hold their owner's secrets.",
)
@click.option(
    "-m",
    "--method",
    "methods",
    multiple=True,
    metavar="LABEL",
    help="With --weights: only of this method; may be given several times.",
)
@json_option
@click.pass_obj
def export(
    plugins: tuple[str, ...],
    folder: Path,
    output: Path,
    store: Path | None,
    submitter: str,
    note: str,
    keep_real: bool,
    no_readings: bool,
    weights: bool,
    methods: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write RUN, a folder like runs/quickstart, into a file that others can verify.

    It holds the records, the suite and the readings that every number is made of, each with its
    SHA-256, and sample strips where the data set is drawn. It holds no weights unless you ask for
    them, no local paths and no images of the data set, nor what is drawn where these are
    photographs. `fpbench.load(BUNDLE, LABEL)` opens a method of a bundle with weights.
    """
    from fpbench.execute.request import read_request
    from fpbench.publish.bundle import Wish, export
    from fpbench.publish.contents import contents

    if methods and not weights:
        raise click.UsageError("-m chooses among trained weights: add --weights.")
    request = read_request(folder, plugins, store or folder.parent / "store")
    wish = Wish(
        submitter,
        note,
        keep_real=keep_real,
        readings=not no_readings,
        weights=weights,
        methods=methods,
    )
    manifest = export(folder, request, output, wish)
    if as_json:
        told = {"path": str(output), "digest": manifest.digest, "files": len(manifest.files) + 1}
        click.echo(json.dumps(told | {"bytes": output.stat().st_size, "weights": weights}))
        return
    click.echo(
        f"{output}: {len(manifest.files) + 1:,} files, {output.stat().st_size:,} bytes, digest "
        f"{manifest.digest}"
    )
    for line in contents(output):
        click.echo(line)
    if manifest.real:
        click.echo("Images of the data set are in it: make sure that no real person is on them.")
    else:
        out = "" if weights else "weights, "
        click.echo(f"Left out: images of the data set, {out}local paths.")
    if weights:
        _warn(output)
    click.echo(f"Next: fpbench verify {output}")


def _warn(output: Path) -> None:
    """Say what the weights in a bundle give away, and under which licences."""
    from zipfile import ZipFile

    from fpbench.publish.weights import CARD, NOTICE, parsed_card

    with ZipFile(output) as archive:
        card = parsed_card(archive.read(CARD))
    click.echo(f"Warning: {NOTICE}.")
    made = {each.name: each for each in (card.host, *(t.method for t in card.trainings))}
    for each in made.values():
        more = f"; made with {each.outside}" if each.outside else ""
        click.echo(f"  {each.name}: {each.licence}{more}")


@click.command()
@click.argument("path", metavar="BUNDLE", type=_BUNDLE)
@json_option
@click.pass_obj
def verify(plugins: tuple[str, ...], path: Path, as_json: bool) -> None:
    """Check BUNDLE: digests, records, that no cell is missing, and every number from its readings.

    It ends as "re-scored" where all numbers were made again and are the same, and as
    "self-reported" where they could not be, e.g. since a plugin is not installed here. The exit
    code is 1 if anything is wrong.
    """
    from fpbench.publish.archive import open_bundle
    from fpbench.publish.verify import verify

    with open_bundle(path) as bundle:
        found = verify(bundle, plugins)
    if as_json:
        click.echo(json.dumps(found.as_json()))
    else:
        _say(found)
        click.echo(_next(found, path))
    if found.problems:
        sys.exit(exits.VERIFICATION_FAILED)


@click.group()
def board() -> None:
    """Look after leaderboards that are made of bundles."""


@board.command()
@click.argument("path", metavar="BUNDLE", type=_BUNDLE)
@click.argument("folder", metavar="BOARD", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--trust", is_flag=True, help="Do not make its numbers again; they are marked self-reported."
)
@click.option(
    "--replace-checked",
    is_flag=True,
    help="Let self-reported numbers replace re-scored ones of the same method.",
)
@json_option
@click.pass_obj
def add(
    plugins: tuple[str, ...],
    path: Path,
    folder: Path,
    trust: bool,
    replace_checked: bool,
    as_json: bool,
) -> None:
    """Verify BUNDLE and add it to BOARD, a folder like leaderboards/faces-32; draw the page.

    Rows of other submissions stay. A method that is there already is superseded; what it said
    stays in the records, and the board's CHANGELOG.md names what changed.
    """
    from fpbench.publish.archive import open_bundle
    from fpbench.publish.board import add_to_board
    from fpbench.publish.verify import verify

    with open_bundle(path) as bundle:
        found = verify(bundle, plugins, rescore=not trust)
        if found.problems:
            _say(found)
            click.echo(_next(found, path))
            sys.exit(exits.VERIFICATION_FAILED)
        added = add_to_board(bundle, found, folder, plugins, replace_checked=replace_checked)
    if as_json:
        state = {"changed": added.changed, "page": str(added.page), **vars(added.changes)}
        click.echo(json.dumps({**found.as_json(), **state}))
        return
    _say(found)
    _say_added(added, folder)


def _say(found: Verification) -> None:
    who = f" by {found.submitter}" if found.submitter else ""
    _echo(f"{found.suite}{who}: {found.records:,} records, bundle {found.digest}")
    _echo_some("wrong: ", found.problems)
    for reason in found.reasons:
        _echo(f"self-reported: {reason}")
    if found.numbers:
        equal = "" if found.problems else ", all of them are in its records"
        _echo(f"{found.numbers:,} numbers made again from its readings{equal}")
    for note in found.notes:
        _echo(f"note: {note}")
    _echo(f"Result: {found.status.upper()}")


def _say_added(added: Added, folder: Path) -> None:
    if added.changed:
        for line in added.changes.lines():
            _echo(line)
        click.echo(f"Open the leaderboard: {added.page.resolve().as_uri()}")
        click.echo(f"Next: read {folder / 'CHANGELOG.md'}, then commit {folder}")
    else:
        click.echo(f"It is on the board already; nothing was changed. Next: open {added.page}")


def _next(found: Verification, path: Path) -> str:
    from fpbench.publish.verify import NO_READINGS

    if found.problems:
        return "Next: have its maker mend what is wrong and run `fpbench export` again"
    add = f"fpbench board add {path} leaderboards/{found.suite}"
    if NO_READINGS in found.reasons:
        return f"Next: ask its submitter for readings, or add it as self-reported: {add}"
    if found.reasons:
        return f"Next: install what is missing and verify again, or add it as self-reported: {add}"
    return f"Next: send it to the board's maintainers, or add it to a board of your own: {add}"


def _echo_some(before: str, lines: Sequence[str]) -> None:
    for line in lines[:_SHOWN]:
        _echo(before + line)
    if len(lines) > _SHOWN:
        _echo(f"{before}… and {len(lines) - _SHOWN} more; --json prints all")


def _echo(text: str) -> None:
    """Print what somebody else may have written: nothing in it steers the terminal."""
    click.echo("".join(c if c.isprintable() else "�" for c in text))

"""`users`: the registry of those who hold copies."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from fpbench.cli.options import json_option

if TYPE_CHECKING:
    from fpbench.users import Issued, Owner, Registry

_REGISTRY = click.argument("place", metavar="REGISTRY")
_model_option = click.option(
    "-m", "--model", default="", help="Which model; may be left out where the registry has one."
)


@click.group()
def users() -> None:
    """Look after the registry of users: who holds which code of which model.

    REGISTRY is a file (SQLite), or postgresql://… (its password belongs into ~/.pgpass).
    """


@users.command()
@_REGISTRY
@click.option("--model", default="", help="Enter a model, too.")
@click.option("--bits", type=click.IntRange(min=1), help="The length of its codes.")
@click.option(
    "--facts",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="What else is to be known of it: a JSON file with an object.",
)
@json_option
def init(place: str, model: str, bits: int | None, facts: Path | None, as_json: bool) -> None:
    """Make REGISTRY, or bring one of an older version up to date."""
    from fpbench.users import Registry

    if bool(model) != (bits is not None) or (facts is not None and not model):
        raise click.UsageError("--model and --bits go together, and --facts with them.")
    told = {**_facts(facts), "bits": bits} if model else {}
    with Registry.open(place, create=True) as registry:
        if model:
            registry.add_model(model, told)
        if as_json:
            names = [each.name for each in registry.models()]
            click.echo(json.dumps({"registry": registry.name, "models": names}))
            return
        click.echo(f"{registry.name}: {len(registry.models())} models")
    click.echo(
        f"Next: `fpbench users add {place} USER`"
        if model
        else f"Next: `fpbench issue RUN:METHOD --registry {place} --user NAME -o DIR`, or "
        f"`fpbench users init {place} --model NAME --bits K` enters a model of your own"
    )


@users.command()
@_REGISTRY
@click.argument("names", nargs=-1, required=True, metavar="USER...")
@_model_option
@click.option("--rotate", is_flag=True, help="Give who has a code another; the old one is kept.")
@click.option(
    "--min-distance",
    type=click.IntRange(min=0),
    default=0,
    metavar="BITS",
    help="In how many bits a code must differ from every other one at least.",
)
@click.option("--codes", is_flag=True, help="Print the codes, which are secrets.")
@json_option
def add(
    place: str,
    names: tuple[str, ...],
    model: str,
    rotate: bool,
    min_distance: int,
    codes: bool,
    as_json: bool,
) -> None:
    """Give each USER a code of a model that nobody was ever given."""
    with _opened(place) as registry:
        model = _model(registry, model)
        give = registry.rotate if rotate else registry.issue
        for name in names:
            issued = give(model, name, min_distance=min_distance)
            _say_issued(issued, model, codes=codes, as_json=as_json)
    if not as_json:
        click.echo(f"Next: `fpbench users audit {place}`, and note the head that it prints")


@users.command("import")
@_REGISTRY
@click.argument("file", metavar="FILE.csv", type=click.Path(dir_okay=False, allow_dash=True))
@_model_option
@json_option
def import_(place: str, file: str, model: str, as_json: bool) -> None:
    """Give codes to the users of FILE.csv (- is standard input).

    Its first line names the columns: `user`, and `code` (hexadecimal) where they have one. Who has
    a code keeps it, so the same command again goes on where another was stopped.
    """
    with _opened(place) as registry, _lines(file) as lines:
        done = registry.import_users(_model(registry, model), lines)
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    click.echo(f"{done.added:,} users added, {done.present:,} were there")
    click.echo(f"Next: `fpbench users audit {place}`, and note the head that it prints")


@users.command()
@_REGISTRY
@_model_option
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.csv",
    help="The file to write; its owner alone may read it.",
)
@click.option("--codes", is_flag=True, help="Write the codes, too, which are secrets.")
@json_option
def export(place: str, model: str, output: Path, codes: bool, as_json: bool) -> None:
    """Write the users of a model as CSV; what a spreadsheet would compute gets a ' in front."""
    with _opened(place) as registry:
        model = _model(registry, model)
        aside = output.with_name(f".{output.name}.part")
        aside.unlink(missing_ok=True)
        handle = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                count = registry.export(model, file, codes=codes)
            aside.replace(output)
        finally:
            aside.unlink(missing_ok=True)
    if as_json:
        told = {"path": str(output), "model": model, "count": count, "codes": codes}
        click.echo(json.dumps(told))
        return
    click.echo(f"{output}: {count:,} codes of model {model}{'' if codes else ', without the bits'}")
    click.echo("Next: keep it secret" if codes else "Next: nothing is to be done")


@users.command()
@_REGISTRY
@click.argument("name", metavar="USER")
@_model_option
@click.option("--reason", required=True, help="Why; kept for good.")
@json_option
def revoke(place: str, name: str, model: str, reason: str, as_json: bool) -> None:
    """Mark USER's code as revoked; it stays traceable, and he gets no other."""
    with _opened(place) as registry:
        model = _model(registry, model)
        registry.revoke(model, name, reason)
    if as_json:
        click.echo(json.dumps({"user": name, "model": model, "revoked": True, "reason": reason}))
        return
    click.echo(f"{name}: the code of model {model} is revoked")
    click.echo(f"Next: `fpbench users audit {place}`, and note the head that it prints")


@users.command()
@_REGISTRY
@click.argument("name", metavar="[USER]", default="")
@click.option("--codes", is_flag=True, help="Print USER's codes, which are secrets.")
@json_option
def show(place: str, name: str, codes: bool, as_json: bool) -> None:
    """Show the models and how many codes they have, or all that USER was given."""
    with _opened(place) as registry:
        if not name:
            _say_models(registry, place, as_json=as_json)
            return
        found = registry.of_user(name)
        shown = [_owner(registry, each, codes=codes) for each in found]
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    for each in shown:
        ended = f" on {each['changed_at']}: {each['reason']}" if each["changed_at"] else ""
        click.echo(
            f"{each['model']} {each['number']}, issued {each['issued_at']}: "
            f"{each['status']}{ended}{'  ' if codes else ''}{each.get('code', '')}"
        )
    if not found:
        click.echo(f"{name} was never given a code")
    click.echo(f"Next: `fpbench users show {place}` counts all")


@users.command()
@_REGISTRY
@click.option("--head", metavar="HASH", help="A head that you noted; it must be in the chain.")
@json_option
def audit(place: str, head: str | None, as_json: bool) -> None:
    """Check the log's chain and every row against it; print the head of the chain.

    Note the head where nobody who can write to REGISTRY can change it. The exit code is 1 if a row
    or an entry was changed; the first one is named.
    """
    with _opened(place) as registry:
        found = registry.audit(head)
    if as_json:
        click.echo(json.dumps({"head": found}))
        return
    click.echo(f"head {found}")
    click.echo(f"Next: note it; later, `fpbench users audit {place} --head {found}`")


@contextmanager
def _opened(place: str) -> Iterator[Registry]:
    from fpbench.users import Registry

    with Registry.open(place) as registry:
        yield registry


@contextmanager
def _lines(file: str) -> Iterator[IO[str]]:
    if file == "-":
        yield sys.stdin
        return
    # A mark at the start of the file is what spreadsheets write there.
    with Path(file).open(encoding="utf-8-sig", newline="") as opened:
        yield opened


def _facts(path: Path | None) -> dict[str, object]:
    from fpbench.api import SpecError

    if path is None:
        return {}
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpecError([f"users init: {path}: expected JSON, got {error}"]) from error
    if not isinstance(read, dict):
        raise SpecError([f"users init: {path}: expected a JSON object, got something else"])
    return read


def _model(registry: Registry, model: str) -> str:
    """The named model, or the only one."""
    from fpbench.api import SpecError

    if model:
        return model
    names = [each.name for each in registry.models()]
    if len(names) == 1:
        return names[0]
    if not names:
        text = "expected a registry with a model, got an empty one"
        raise SpecError(
            [f"users: {text}; `fpbench users init {registry.name} --model NAME --bits K`"]
        )
    raise SpecError([f"users: expected --model, got none; there are {', '.join(names)}"])


def _say_issued(issued: Issued, model: str, *, codes: bool, as_json: bool) -> None:
    said: dict[str, object] = {
        "user": issued.user,
        "model": model,
        "number": issued.number,
        "issued_at": issued.issued_at.isoformat(),
    }
    if codes:
        said["code"] = _hex(issued.code)
    if as_json:
        click.echo(json.dumps(said))
        return
    click.echo(
        f"{issued.user}: code {issued.number} of model {model}  {said.get('code', '')}".rstrip()
    )


def _say_models(registry: Registry, place: str, *, as_json: bool) -> None:
    told = [(model, registry.census(model.name)) for model in registry.models()]
    if as_json:
        shown = [
            {
                "model": model.name,
                "bits": model.bits,
                "created_at": model.created_at.isoformat(),
                "codes": census,
            }
            for model, census in told
        ]
        click.echo(json.dumps(shown, indent=2))
        return
    for model, census in told:
        counts = ", ".join(f"{n:,} {status}" for status, n in census.items()) or "no codes"
        click.echo(f"{model.name}: {model.bits} bits, {counts}")
    if not told:
        click.echo("no models")
        click.echo(f"Next: `fpbench users init {place} --model NAME --bits K`")
        return
    click.echo(f"Next: `fpbench users show {place} USER`")


def _owner(registry: Registry, each: Owner, *, codes: bool) -> dict[str, object]:
    said: dict[str, object] = {
        "user": each.user,
        "model": each.model,
        "number": each.number,
        "status": each.status,
        "issued_at": each.issued_at.isoformat(),
        "changed_at": each.changed_at.isoformat() if each.changed_at else None,
        "reason": each.reason,
    }
    if codes:
        said["code"] = _hex(registry.code(each.model, each.number))
    return said


def _hex(code: object) -> str:
    import numpy as np

    return f"0x{np.packbits(np.asarray(code)).tobytes().hex()}"

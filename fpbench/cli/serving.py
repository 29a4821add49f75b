"""`serve`: whom images lead to, asked over HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fpbench.cli.options import (
    beside_option,
    false_rate_option,
    places_option,
    registry_option,
    runs_option,
)

if TYPE_CHECKING:
    from fpbench.serve import Token

_VARIABLE = "FPBENCH_TOKEN"


@click.command()
@registry_option
@click.option("--method", required=True, metavar="RUN:METHOD[@SEED]", help="Who reads.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on: this machine's."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="0: any that is free.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"A file with the token, that its owner alone may read; default: ${_VARIABLE}.",
)
@false_rate_option
@click.option(
    "--max-mib",
    type=click.IntRange(1, 1024),
    default=16,
    show_default=True,
    help="Of one request, all images together.",
)
@click.option(
    "--per-minute",
    type=click.IntRange(1, 100_000),
    default=60,
    show_default=True,
    help="Requests of one address.",
)
@runs_option
@beside_option
@places_option
@click.pass_obj
def serve(
    plugins: tuple[str, ...],
    place: str,
    method: str,
    host: str,
    port: int,
    token_file: Path | None,
    false_rate: float,
    max_mib: int,
    per_minute: int,
    runs: Path,
    store: Path | None,
    places: dict[str, Path],
) -> None:
    """Answer over HTTP whom images lead to: a page with a form, and POST /trace.

    Whoever has the token may ask. No image is kept, nor what was read in it. Every request is a
    line of the log, on stderr. Ctrl-C ends it.
    """
    from fpbench import serve as service
    from fpbench.python.tracing import traced_method

    token = _token(token_file)
    trained, model = traced_method(method, runs, store, plugins, places)
    limits = service.Limits(max_mib, per_minute)
    with service.Desk(trained, model, place, false_rate) as desk, service.bound(host, port) as door:
        app = service.application(desk, token, limits, lambda line: click.echo(line, err=True))
        click.echo(f"{model}: {service.address_of(door)}")
        if not service.is_loopback(door):
            text = "other machines reach it, unencrypted; put a proxy with TLS in front"
            click.echo(f"{host}: {text}", err=True)
        service.listen(app, door)


def _token(file: Path | None) -> Token:
    from fpbench.api import SpecError
    from fpbench.serve import Token, read_token

    # What this process starts need not know it.
    told = os.environ.pop(_VARIABLE, "")
    if bool(told) == (file is not None):
        got = "both" if told else "neither"
        raise SpecError([f"serve: expected a token, in ${_VARIABLE} or --token-file, got {got}"])
    return read_token(file) if file is not None else Token(told, f"${_VARIABLE}")

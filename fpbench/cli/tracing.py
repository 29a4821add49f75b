"""`issue` and `trace`: from a trained method to a user's copy, and from images to a user."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fpbench.cli import exits
from fpbench.cli.options import false_rate_option, json_option, runs_option

if TYPE_CHECKING:
    import numpy as np

    from fpbench.users import Registry, Report

_registry_option = click.option(
    "--registry",
    "place",
    required=True,
    metavar="REGISTRY",
    help="A file (SQLite), or postgresql://…, as `fpbench users init` makes it.",
)
_store_option = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of artefacts; default: the store beside RUN.",
)


@click.command()
@click.argument("method", metavar="RUN:METHOD[@SEED]")
@_registry_option
@click.option("--user", required=True, help="Who gets the copy, as the registry calls him.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="An empty folder, or none yet: what the user is given.",
)
@click.option("--again", is_flag=True, help="Make the copy of a code that he has already.")
@click.option(
    "--min-distance",
    type=click.IntRange(min=0),
    default=0,
    metavar="BITS",
    help="In how many bits his code must differ from every other one at least.",
)
@runs_option
@_store_option
@json_option
@click.pass_obj
def issue(
    plugins: tuple[str, ...],
    method: str,
    place: str,
    user: str,
    output: Path,
    again: bool,
    min_distance: int,
    runs: Path,
    store: Path | None,
    as_json: bool,
) -> None:
    """Issue a copy of a trained METHOD of RUN to a user.

    RUN is a folder like runs/quickstart, or a bundle that `fpbench export --weights` has written.

    His code is drawn from the system's random source, is nobody else's, and is in the registry
    before his copy is made. `fpbench.load_copy(FOLDER).sample(16)` opens it without a secret.
    """
    from fpbench.api import SpecError
    from fpbench.python.tracing import traced_method
    from fpbench.users import Registry

    trained, model = traced_method(method, runs, store, plugins)
    if output.exists() and any(output.iterdir()):
        raise SpecError([f"-o {output}: expected an empty folder, got files; name another one"])
    with Registry.open(place) as registry:
        registry.add_model(model, trained.facts)
        if again:
            number, code = _active(registry, model, user)
        else:
            issued = registry.issue(model, user, min_distance=min_distance)
            number, code = issued.number, issued.code
    trained.issue(code, number).save(output)
    if as_json:
        told = {"user": user, "model": model, "number": number, "copy": str(output)}
        click.echo(json.dumps(told))
        return
    click.echo(f"{user}: code {number} of model {model}; the copy is in {output}")
    click.echo(f"Next: hand {output} over; `fpbench users audit {place}`, and note the head")


@click.command()
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@_registry_option
@click.option(
    "--method", metavar="RUN:METHOD[@SEED]", help="Who reads; not needed with --verify alone."
)
@false_rate_option
@click.option(
    "--rule",
    type=click.Choice(["best", "all", "one"]),
    default="best",
    show_default=True,
    help="Who is named: the best match; all above the threshold; or one who is there alone.",
)
@click.option("--pool", is_flag=True, help="The images are of one source: read them together.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="REPORT.json",
    help="Write the evidence, and a page of it beside.",
)
@click.option(
    "--verify",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="REPORT.json",
    help="Compute a report again instead; with --method its images are read again, too.",
)
@runs_option
@_store_option
@json_option
@click.pass_obj
def trace(
    plugins: tuple[str, ...],
    images: tuple[Path, ...],
    place: str,
    method: str | None,
    false_rate: float,
    rule: Any,
    pool: bool,
    output: Path | None,
    verify: Path | None,
    runs: Path,
    store: Path | None,
    as_json: bool,
) -> None:
    """Say whom IMAGES, files or folders, lead to: an accountable user, or nobody.

    Everybody who ever got a code counts, whose copy was revoked too. The exit code is 0 whoever it
    is, 1 if a report does not hold.
    """
    from fpbench.python.tracing import check_model, read_images, traced_method
    from fpbench.users import Registry, report_of

    if verify is not None:
        _verify(verify, place, images, method, runs, store, plugins)
        return
    if method is None or not images:
        raise click.UsageError("Name IMAGES and --method, or a report to --verify.")
    trained, model = traced_method(method, runs, store, plugins)
    files = _files(images)
    with Registry.open(place) as registry:
        check_model(registry, model, trained)
        read, logits = read_images(trained, files)
        report = report_of(registry, model, read, logits, false_rate, rule, pool=pool)
    if output is not None:
        _write(report, output)
    if as_json:
        click.echo(report.model_dump_json(indent=2))
        return
    _say(report)
    if output is not None:
        click.echo(f"Evidence: {output}, and as a page {output.with_suffix('.html')}")


def _active(registry: Registry, model: str, user: str) -> tuple[int, np.ndarray]:
    from fpbench.api import SpecError

    for owner in registry.of_user(user):
        if owner.model == model and owner.status == "active":
            return owner.number, registry.code(model, owner.number)
    text = f"expected a user with an active code of model {model}, got none"
    raise SpecError([f"{user}: {text}; leave --again out to issue one"])


def _files(given: Sequence[Path]) -> list[tuple[str, bytes]]:
    """Name and bytes of every image."""
    from fpbench.builtin.image_folder.files import open_files

    found = []
    for path in given:
        if path.is_file() and path.suffix.lower() != ".zip":
            found.append((path.name, path.read_bytes()))
            continue
        files = open_files(path)
        found += [(name, files.read(name)) for name in sorted(files.listing().images)]
    return found


def _write(report: Report, output: Path) -> None:
    from fpbench.report.tracing import write_trace

    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    write_trace(report.model_dump(mode="json"), output.with_suffix(".html"))


def _say(report: Report) -> None:
    names = ["all together"] if report.pooled else [image.name for image in report.images]
    for name, verdict in zip(names, report.verdicts, strict=True):
        best = verdict["best"]
        for suspect in verdict["accused"]:
            click.echo(
                f"{name}: {suspect['user']} ({suspect['status']}), {suspect['match']} of "
                f"{report.facts['bits']} bits, p = {suspect['p_value']:.2g}, family-wise "
                f"{suspect['family_wise']:.2g} over {report.codes:,} codes"
            )
        if not verdict["accused"]:
            said = f", the best has {best['match']}" if best else ""
            click.echo(f"{name}: nobody; {verdict['reason']}{said}")


def _verify(
    path: Path,
    place: str,
    images: Sequence[Path],
    method: str | None,
    runs: Path,
    store: Path | None,
    plugins: tuple[str, ...],
) -> None:
    import numpy as np

    from fpbench.python.tracing import read_images, traced_method
    from fpbench.users import Registry, checked, read_report

    report = read_report(path)
    with Registry.open(place) as registry:
        problems = checked(report, registry)
    if images:
        files = _files(images)
        digests = {hashlib.sha256(data).hexdigest() for _, data in files}
        problems += [
            f"{image.name}: expected the file that was read, got no file with its digest"
            for image in report.images
            if image.sha256 not in digests
        ]
        if method is not None and not problems:
            trained, _ = traced_method(method, runs, store, plugins)
            by_digest = {hashlib.sha256(data).hexdigest(): (name, data) for name, data in files}
            _, logits = read_images(trained, [by_digest[image.sha256] for image in report.images])
            if not np.allclose(logits, report.readings, atol=1e-4):
                problems.append("readings: expected what the method reads, got others")
    for problem in problems:
        click.echo(problem, err=True)
    click.echo("Result: " + ("DOES NOT HOLD" if problems else "HOLDS"))
    if problems:
        sys.exit(exits.VERIFICATION_FAILED)

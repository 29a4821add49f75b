"""`issue` and `trace`: from a trained method to a user's copy, and from images to a user."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fpbench.cli import exits
from fpbench.cli.options import (
    FALSE_RATE,
    beside_option,
    false_rate_option,
    json_option,
    places_option,
    registry_option,
    runs_option,
)

if TYPE_CHECKING:
    import numpy as np

    from fpbench.python.tracing import File, Readers
    from fpbench.users import Inquiry, Registry, Report, TracedImage


@click.command()
@click.argument("method", metavar="RUN:METHOD[@SEED]")
@registry_option
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
@beside_option
@places_option
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
    places: dict[str, Path],
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

    trained, model = traced_method(method, runs, store, plugins, places)
    if output.exists() and any(output.iterdir()):
        raise SpecError([f"-o {output}: expected an empty folder, got files; name another one"])
    with Registry.open(place) as registry:
        registry.add_model(model, trained.facts)
        if again:
            number, code = _active(registry, model, user)
        else:
            trained.check_room(registry.count(model) + 1)
            issued = registry.issue(model, user, min_distance=min_distance)
            number, code = issued.number, issued.code
        _warn(trained.bits, registry.count(model))
    try:
        trained.issue(code, number).save(output)
    except BaseException:
        click.echo(f"{user}: code {number} of model {model} is his; no copy was made", err=True)
        said = ", ".join(f"--place {name}=PATH" for name in trained.unplaced)
        mend = f"say where files are ({said})" if said else "mend what is said below"
        click.echo(f"Next: {mend}, and give the same command with --again", err=True)
        raise
    if as_json:
        told = {"user": user, "model": model, "number": number, "copy": str(output)}
        click.echo(json.dumps(told))
        return
    click.echo(f"{user}: code {number} of model {model}; the copy is in {output}")
    click.echo(f"Next: hand {output} over; `fpbench users audit {place}`, and note the head")


@click.command()
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@registry_option
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
@click.option(
    "--json-lines", is_flag=True, help="Print a line of JSON for each image, as soon as it is read."
)
@runs_option
@beside_option
@places_option
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
    json_lines: bool,
    runs: Path,
    store: Path | None,
    places: dict[str, Path],
    as_json: bool,
) -> None:
    """Say whom IMAGES, files or folders, lead to: an accountable user, or nobody.

    Everybody who ever got a code counts, whose copy was revoked too. The exit code is 0 whoever it
    is, 1 if a report does not hold.
    """
    from fpbench.cli.progress import looking
    from fpbench.python.tracing import Readers, check_model, check_sizes, traced, traced_method
    from fpbench.users import Inquiry, Registry

    if as_json and json_lines:
        raise click.UsageError("--json and --json-lines exclude each other.")
    if output is not None and output.suffix == ".html":
        raise click.UsageError(f"-o {output}: name the report's JSON; its page is written beside.")
    if verify is not None:
        again = None
        if method is not None:
            again = Readers(traced_method(method, runs, store, plugins, places)[0])
        _verify(verify, place, images, again)
        return
    if method is None or not images:
        raise click.UsageError("Name IMAGES and --method, or a report to --verify.")
    trained, model = traced_method(method, runs, store, plugins, places)
    readers = Readers(trained)
    files = _listed(images)
    with Registry.open(place) as registry:
        check_model(registry, model, trained)
        inquiry = Inquiry(registry, model, false_rate, rule)
        check_sizes(trained, files, looking("{} headers looked at"))
        report = traced(
            inquiry,
            readers.of(inquiry),
            files,
            pool=pool,
            keep=as_json or output is not None,
            say=_nothing if as_json else _lines if json_lines else partial(_sentences, inquiry),
            on_read=looking("{} images read"),
        )
    if report is not None:
        _hand_over(report, output, trained.info.modality, as_json=as_json, silent=json_lines)


def _hand_over(
    report: Report, output: Path | None, modality: str, *, as_json: bool, silent: bool
) -> None:
    if output is not None:
        _write(report, output, modality)
    if as_json:
        click.echo(report.model_dump_json(indent=2))
    elif not silent:
        page = output.with_suffix(".html") if output else ""
        click.echo(f"Evidence: {output}, and as a page {page}")


def _listed(images: Sequence[Path]) -> list[File]:
    from fpbench.python.tracing import listed

    files, lacking = listed(images)
    if lacking:
        click.echo(f"{lacking:,} images cannot be read, and are left out", err=True)
    return files


def _warn(bits: int, codes: int) -> None:
    """Say it where whoever is issued a code could never be named."""
    from fpbench.stats import supports

    if bits and not supports(bits, codes, FALSE_RATE):
        text = f"{bits} bits cannot tell {codes:,} users apart at a false rate of {FALSE_RATE:g}"
        click.echo(f"{text}: trace will name nobody", err=True)


def _active(registry: Registry, model: str, user: str) -> tuple[int, np.ndarray]:
    from fpbench.api import SpecError

    for owner in registry.of_user(user):
        if owner.model == model and owner.status == "active":
            return owner.number, registry.code(model, owner.number)
    text = f"expected a user with an active code of model {model}, got none"
    raise SpecError([f"{user}: {text}; leave --again out to issue one"])


def _write(report: Report, output: Path, modality: str) -> None:
    from fpbench.report.tracing import write_trace
    from fpbench.store.objects import write_text

    write_trace(report.model_dump(mode="json"), output.with_suffix(".html"), modality)
    write_text(output, report.model_dump_json(indent=2) + "\n")


def _nothing(images: Sequence[TracedImage], verdicts: Sequence[dict[str, Any]]) -> None:
    pass


def _lines(images: Sequence[TracedImage], verdicts: Sequence[dict[str, Any]]) -> None:
    """A line of JSON for each verdict."""
    for of, verdict in _beside(images, verdicts):
        told = {"images": [image.model_dump() for image in of], **verdict}
        click.echo(json.dumps(told, ensure_ascii=False))


def _sentences(
    inquiry: Inquiry, images: Sequence[TracedImage], verdicts: Sequence[dict[str, Any]]
) -> None:
    """A line for each who is accused, or one that says why nobody is."""
    bits = inquiry.facts["bits"]
    codes = f"{inquiry.codes:,} {'codes' if bits else 'users'}"
    for of, verdict in _beside(images, verdicts):
        name, best = "all together" if len(of) > 1 else of[0].name, verdict["best"]
        for suspect in verdict["accused"]:
            chances = f"p = {suspect['p_value']:.2g}, family-wise {suspect['family_wise']:.2g}"
            who = f"{suspect['user']} ({suspect['status']}), {_match(suspect, bits)}"
            click.echo(f"{name}: {who}, {chances} over {codes}")
        if not verdict["accused"]:
            said = f", the best has {_match(best, bits)}" if best else ""
            click.echo(f"{name}: nobody; {verdict['reason']}{said}")


def _match(suspect: dict[str, Any], bits: int) -> str:
    return f"{suspect['match']} of {bits} bits" if bits else f"{suspect['match']:.4g} deviations"


def _beside(
    images: Sequence[TracedImage], verdicts: Sequence[dict[str, Any]]
) -> Iterator[tuple[Sequence[TracedImage], dict[str, Any]]]:
    together = len(verdicts) < len(images)
    return zip([images] if together else [[image] for image in images], verdicts, strict=True)


def _verify(path: Path, place: str, images: Sequence[Path], readers: Readers | None) -> None:
    from fpbench.users import Registry, checked, read_report

    report = read_report(path)
    with Registry.open(place) as registry:
        problems = checked(report, registry)
        if images:
            by_digest = {_digest(file): file for file in _listed(images)}
            problems += [
                f"{image.name}: expected the file that was read, got no file with its digest"
                for image in report.images
                if image.sha256 not in by_digest
            ]
            if readers is not None and not problems:
                again = [by_digest[image.sha256] for image in report.images]
                problems += _read_again(report, registry, again, readers)
    for problem in problems:
        click.echo(problem, err=True)
    click.echo("Result: " + ("DOES NOT HOLD" if problems else "HOLDS"))
    if problems:
        sys.exit(exits.VERIFICATION_FAILED)


def _digest(file: File) -> str:
    return hashlib.sha256(file.data()).hexdigest()


def _read_again(
    report: Report, registry: Registry, files: Sequence[File], readers: Readers
) -> list[str]:
    """What the method reads otherwise than the report says."""
    import numpy as np

    from fpbench.python.tracing import readings
    from fpbench.users import Inquiry

    inquiry = Inquiry(registry, report.model, report.false_rate, report.rule, codes=report.codes)
    parts = [rows for _, rows in readings(inquiry, readers.of(inquiry), files)]
    now = {"readings": np.concatenate(parts), **inquiry.negatives}
    then = {"readings": report.readings, **report.scores_of_negatives}
    return [
        f"{what}: expected what the method reads, got others"
        for what in sorted(now.keys() | then.keys())
        if what not in now
        or what not in then
        or now[what].shape != then[what].shape
        or not np.allclose(now[what], then[what], atol=1e-4)
    ]

"""`prepare`: what a suite needs of this machine, and how to get it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fpbench.cli import exits
from fpbench.cli.options import json_option, suite_options

if TYPE_CHECKING:
    from fpbench.spec import Backbone, Suite, SuiteMethod


@click.command()
@suite_options
@click.option("--list", "only_list", is_flag=True, help="Only say what is there; fetch nothing.")
@json_option
@click.pass_obj
def prepare(
    plugins: tuple[str, ...],
    suite: str,
    assignments: tuple[str, ...],
    methods: tuple[str, ...],
    attacks: tuple[str, ...],
    seeds: str | None,
    weights: Path | None,
    only_list: bool,
    as_json: bool,
) -> None:
    """Get what SUITE needs: data set, weights of published networks, environments of methods.

    Weights are downloaded by the libraries that use them, into their own folder, and checked by
    SHA-256. On a machine without internet bring the files in a folder and name it with --weights.
    """
    from fpbench.registry import load
    from fpbench.spec import read_suite

    read = read_suite(
        suite, load(plugins), assignments=assignments, methods=methods, attacks=attacks, seeds=seeds
    )
    found = [_dataset(read, only_list)]
    found += [_weights(backbone, weights, only_list) for backbone in read.backbones]
    found += [row for method in read.methods for row in _method(method, only_list)]
    found += [row for who, each in read.opening for row in _assets(who, each, weights)]
    missing = [row for row in found if row["ready"] == "no"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for row in found:
            word = "ready  " if row["ready"] == "yes" else "missing"
            click.echo(f"{word}  {row['what']}: {row['note']}")
        if not read.backbones:
            click.echo("The suite names no published network: it needs no weights.")
        click.echo(f"Next: {_next(suite, missing)}")
    if missing:
        sys.exit(exits.ENVIRONMENT)


def _next(suite: str, missing: list[dict[str, str]]) -> str:
    """What to do then: nothing runs without its data set, but without weights much does."""
    if any(row["what"].startswith("data set") for row in missing):
        return f"bring or mend the data set, then fpbench prepare {suite}"
    return f"fpbench run {suite}" + (", without what is missing" if missing else "")


def _dataset(suite: Suite, only_list: bool) -> dict[str, str]:
    """Find a data set, or fetch it, and look whether it is enough for the suite."""
    from fpbench.api import MissingResource
    from fpbench.cli.progress import looking
    from fpbench.plan.data import too_few

    dataset = suite.dataset
    what = f"data set {dataset.name}"
    try:
        dataset.look(looking())
        if only_list:
            dataset.info()
        note = "prepared" if only_list else dataset.prepare()
        problems = too_few(suite, dataset.info())
    except MissingResource as error:
        return {"what": what, "ready": "no", "note": str(error)}
    note = "\n  ".join([note, *problems])
    return {"what": what, "ready": "no" if problems else "yes", "note": note}


def _method(method: SuiteMethod, only_list: bool) -> list[dict[str, str]]:
    """What a method needs beside, or nothing."""
    from fpbench.api import MissingResource

    what = f"method {method.label}"
    try:
        note = "" if only_list else method.component.prepare()
        missing = method.component.lacks()
    except MissingResource as error:
        return [{"what": what, "ready": "no", "note": str(error)}]
    if missing:
        return [{"what": what, "ready": "no", "note": missing}]
    return [{"what": what, "ready": "yes", "note": note}] if note else []


def _assets(who: str, component: Any, folder: Path | None) -> list[dict[str, str]]:
    """Files that a component opens; fpbench fetches none of them."""
    from fpbench.plan.assets import missing_assets

    missing = missing_assets(component, folder)
    if missing:
        return [{"what": who, "ready": "no", "note": said} for said in missing]
    names = ", ".join(sorted(component.assets))
    return [{"what": who, "ready": "yes", "note": names}] if names else []


def _weights(backbone: Backbone, folder: Path | None, only_list: bool) -> dict[str, str]:
    """Find the weights of a network, or fetch them."""
    from fpbench.api import MissingResource
    from fpbench.backbones import weights

    what = f"weights of {backbone.use}"
    try:
        path = weights.find(backbone.use, folder, backbone.sha256)
    except MissingResource as error:
        # Only its publisher's file can be fetched; a suite that pins another brings its own.
        if only_list or backbone.sha256 is not None:
            return {"what": what, "ready": "no", "note": str(error)}
        try:
            path = weights.fetch(backbone.use, folder)
        except MissingResource as failed:
            return {"what": what, "ready": "no", "note": str(failed)}
    digest = weights.sha256_of(path)
    return {"what": what, "ready": "yes", "note": f"{path} (SHA-256 {digest})"}

"""`check`: whether a plugin keeps the rules, one result for each."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fpbench.cli import exits
from fpbench.cli.options import json_option, weights_option

if TYPE_CHECKING:
    from fpbench.registry import Catalogue
    from fpbench.testing.checks import Setup
    from fpbench.testing.rules import Result
    from fpbench.testing.targets import Target

_MARKS = {"kept": "ok", "broken": "BROKEN", "skipped": "-", "not reached": "-"}

_USED = {
    "method": "-m {0}",
    "attack": "-a {0}",
    "host": "--set host.use={0}",
    "dataset": "--set dataset.use={0}",
    "metric": "",
}
"""How a suite is told to use a component of a kind."""


@click.command()
@click.argument("named", metavar="NAME|PATH")
@click.option(
    "--size",
    type=click.IntRange(4, 1024),
    default=32,
    show_default=True,
    help="Height and width of the images that it is tried on, pixels.",
)
@click.option(
    "--images",
    "folder",
    type=click.Path(path_type=Path, exists=True),
    metavar="FOLDER",
    help="Try it on these images, brought to --size pixels, instead of drawn ones.",
)
@click.option("--dataset", metavar="NAME[k=v]", help="Try it on this data set.")
@click.option(
    "--host",
    metavar="NAME[k=v]",
    help="Host that methods and attacks are tried on; default: a tiny linear one, or a small "
    "StyleGAN2 for attacks on weights and where convolutions are asked for.",
)
@click.option(
    "--steps",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="Cut each training at so many steps; 0 = train to its end.",
)
@click.option("--rule", "rules", multiple=True, metavar="RULE", help="Only this rule; repeats.")
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.xml",
    help="Write the results as JUnit's XML, too.",
)
@weights_option
@json_option
@click.pass_obj
def check(
    plugins: tuple[str, ...],
    named: str,
    size: int,
    folder: Path | None,
    dataset: str | None,
    host: str | None,
    steps: int,
    rules: tuple[str, ...],
    junit: Path | None,
    weights: Path | None,
    as_json: bool,
) -> None:
    """Check whether a plugin keeps the rules: NAME of a component or plugin, or PATH.

    NAME may have parameters ('hidden[bits=8]'); PATH is a file like ./mymethod.py, or the folder of
    a package, which need not be installed. Nothing is kept. The exit code is 1 if a rule is broken.
    """
    from fpbench.registry import load
    from fpbench.testing.reports import as_json as plain
    from fpbench.testing.reports import as_junit
    from fpbench.testing.rules import Verdict
    from fpbench.testing.targets import targets

    catalogue = load(plugins)
    setup = replace(_setup(catalogue, size, folder, dataset, host, steps or None), weights=weights)
    results: list[Result] = []
    for target in targets(named, catalogue):
        for result in _results(target, setup, catalogue, rules):
            if not as_json:
                _say(result, new=not results or results[-1].component != result.component)
            results.append(result)
    if junit is not None:
        junit.write_text(as_junit(results), encoding="utf-8")
    broken = [result for result in results if result.verdict is Verdict.BROKEN]
    if as_json:
        click.echo(json.dumps(plain(results), indent=2))
    else:
        click.echo(_last(results, broken, named))
    if broken:
        sys.exit(exits.VERIFICATION_FAILED)


def _results(
    target: Target, setup: Setup, catalogue: Catalogue, only: tuple[str, ...]
) -> Iterator[Result]:
    from fpbench.api import SpecError
    from fpbench.api.errors import nearest
    from fpbench.testing.checks import Check

    if target.failed is not None:
        yield target.failed
        return
    tried = Check(target.what, setup, catalogue, target.module)
    names = [rule.name for rule in tried.rules]
    unknown = [
        f"--rule {name}: unknown{nearest(name, names)}" for name in only if name not in names
    ]
    if unknown:
        raise SpecError(unknown)
    for rule in tried.rules:
        if not only or rule.name in only:
            yield tried.result(rule)


def _setup(
    catalogue: Catalogue,
    size: int,
    folder: Path | None,
    dataset: str | None,
    host: str | None,
    steps: int | None,
) -> Setup:
    from fpbench.testing.checks import Setup

    if folder is not None and dataset is not None:
        raise click.UsageError("--images is a data set already: leave --dataset away.")
    if folder is not None:
        dataset = f"image-folder[size={size},path={json.dumps(str(folder))}]"
    data: Any = _component(catalogue, "datasets", dataset)
    return Setup(host=_component(catalogue, "hosts", host), dataset=data, size=size, steps=steps)


def _component(catalogue: Catalogue, kind: str, selector: str | None) -> Any:
    from fpbench.api import SpecError
    from fpbench.spec.source import selected
    from fpbench.testing.targets import with_params

    if selector is None:
        return None
    option = f"--{kind.removesuffix('s')}"
    try:
        name, params, _ = selected(selector)
    except ValueError as error:
        raise SpecError([f"{option}: {error}"]) from None
    if catalogue.get(kind, name) is None:
        raise SpecError([f"{option}: {catalogue.unknown(kind, name)}"])
    return with_params(kind, catalogue.component(kind, name), params)


def _say(result: Result, *, new: bool) -> None:
    if new:
        click.echo(result.component)
    said = f"{result.asks}" + (f" ({result.said})" if result.said else "")
    if result.verdict == "broken":
        said = result.said
    click.echo(f"  {_MARKS[result.verdict]:<8}{result.rule:<12}{said}")


def _last(results: list[Result], broken: list[Result], named: str) -> str:
    from fpbench.testing.rules import Verdict

    if broken:
        names = ", ".join(dict.fromkeys(result.rule for result in broken))
        said = f"{len(broken)} of {len(results)} rules are broken: {names}"
        return f"{said}. Next: mend the first, then fpbench check {named}"
    kept = sum(result.verdict is Verdict.KEPT for result in results)
    said = f"All rules are kept: {kept}, and {len(results) - kept} say nothing here"
    kind, _, name = results[0].component.partition(" ")
    if kind not in _USED:
        return f"{said}."
    loaded = f" -p {named}" if named.endswith(".py") else ""
    install = f"pip install -e {named}, then " if Path(named).is_dir() else ""
    used = _USED[kind].format(name)
    return f"{said}. Next: {install}fpbench{loaded} run quickstart {used}".rstrip()

"""`info` and `show`: a component's card and parameters, and the text of a suite."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from fpbench.cli.options import component_names, json_option, suite_argument

if TYPE_CHECKING:
    from fpbench.registry.describing import Parameter


@click.command()
@click.argument("name", shell_complete=component_names())
@json_option
@click.pass_obj
def info(plugins: tuple[str, ...], name: str, as_json: bool) -> None:
    """Show what NAME is, what it costs, and what each of its parameters means and may be.

    NAME is a method, an attack, a host, a data set or another component; `fpbench list` names them
    all. With its paper as BibTeX.
    """
    from fpbench.api import SpecError
    from fpbench.api.errors import nearest
    from fpbench.registry import load
    from fpbench.registry.catalogue import KINDS
    from fpbench.registry.describing import cost, parameters

    catalogue = load(plugins)
    found = [kind for kind in KINDS if name in catalogue.names(kind)]
    if not found:
        disputes = [said for kind in KINDS if (said := catalogue.dispute(kind, name))]
        near = nearest(name, [each for kind in KINDS for each in catalogue.names(kind)])
        hint = near if near.endswith("?") else "; `fpbench list` shows all"
        raise SpecError(disputes or [f"unknown component '{name}'{hint}"])
    for kind in found:
        cls = catalogue.component(kind, name)
        facts = {
            "kind": kind,
            "name": name,
            "version": cls.version,
            "from": catalogue.origin(kind, name),
            **asdict(cls.card),
            **_facts(cls),
            "cost": cost(cls),
        }
        if as_json:
            schema = cls.Params.model_json_schema().get("properties", {})
            own = {each.name: asdict(each) for each in parameters(cls.Params)}
            params = {key: schema[key] | own[key] for key in own}
            click.echo(json.dumps(facts | {"params": params}, indent=2))
            continue
        bibtex = facts.pop("bibtex")
        for key, value in facts.items():
            if value:
                click.echo(_under(f"{key:<10}", str(value)))
        for parameter in parameters(cls.Params):
            click.echo(_told(parameter))
        if bibtex:
            click.echo(f"\n{bibtex}")


@click.command()
@suite_argument
@json_option
@click.pass_obj
def show(plugins: tuple[str, ...], suite: str, as_json: bool) -> None:
    """Print SUITE as it is written, to be edited: `fpbench show quickstart > mine.toml`.

    With --json, what it says with all defaults filled in.
    """
    from fpbench.spec import read_suite, suite_text

    if as_json:
        from fpbench.registry import load

        click.echo(json.dumps(read_suite(suite, load(plugins)).resolved(), indent=2))
        return
    click.echo(suite_text(suite), nl=False)


def _facts(cls: type[Any]) -> dict[str, str]:
    """What a suite's author asks of a method, a host or an attack beside its card."""
    from fpbench.api import Attack, Host, Method

    if issubclass(cls, Host):
        return {"offers": ", ".join(sorted(cls.offers))}
    if issubclass(cls, Method):
        told = {"placement": cls.placement, "reads": cls.reads, "gives": cls.gives}
        return {**told, "asks": ", ".join(sorted(cls.asks))}
    if not issubclass(cls, Attack):
        return {}
    facts = {"family": cls.family, "access": ", ".join(sorted(cls.access))}
    knob = cls.strength
    if knob is not None:
        grid = ", ".join(f"{v:g}" for v in knob.grid)
        unit = f" ({knob.unit})" if knob.unit else ""
        facts["strength"] = f"{knob.name}{unit}: {grid}; {knob.legal}"
        if knob.identity is not None:
            facts["strength"] += f", {knob.identity:g} changes nothing"
    return facts


def _told(parameter: Parameter) -> str:
    name = f"{parameter.name} = {parameter.default}" if parameter.default else parameter.name
    needed = "" if parameter.default else "; must be given"
    head = _under("  ", f"{name}   ({parameter.legal}{needed})")
    return f"{head}\n{_under(' ' * 6, parameter.meaning)}" if parameter.meaning else head


def _under(head: str, text: str) -> str:
    """Text in lines of 100 characters, with `head` before the first and blanks before the rest."""
    return textwrap.fill(
        text,
        100,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
        break_long_words=False,
    )

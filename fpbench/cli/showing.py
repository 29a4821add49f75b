"""`info` and `show`: a component's card and parameters, and the text of a suite."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from fpbench.cli.completing import component_names
from fpbench.cli.options import json_option, suite_argument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpbench.api import Params


@click.command()
@click.argument("name", shell_complete=component_names())
@json_option
@click.pass_obj
def info(plugins: tuple[str, ...], name: str, as_json: bool) -> None:
    """Show what NAME is, what it costs, and what each of its parameters means and may be.

    NAME is a method, an attack, a host, a data set or another component (`fpbench list` names them
    all); a table of a suite, such as population or score; or `records`, for the fields of a record.
    """
    from fpbench.store.fields import FIELDS

    if name == "records":
        if as_json:
            click.echo(json.dumps(dict(FIELDS), indent=2))
        else:
            for field, meaning in FIELDS.items():
                click.echo(_under(f"{field:<18}", meaning))
        return
    found = [*_tables(name), *_components(name, plugins)]
    if as_json:
        click.echo(json.dumps(found[0] if len(found) == 1 else found, indent=2))
        return
    for facts in found:
        params, bibtex = facts.pop("params"), facts.pop("bibtex", "")
        for key, value in facts.items():
            if value:
                click.echo(_under(f"{key:<10}", str(value)))
        for parameter in params.values():
            click.echo(_told(parameter))
        if bibtex:
            click.echo(f"\n{bibtex}")


def _tables(name: str) -> list[dict[str, Any]]:
    """What is known of a table of suites; nothing where there is none of that name."""
    from fpbench.spec.model import TABLES

    if name not in TABLES:
        return []
    about = (TABLES[name].__doc__ or "").splitlines()[0]
    return [{"kind": "suite", "name": name, "summary": about, "params": _params(TABLES[name])}]


def _components(name: str, plugins: tuple[str, ...]) -> list[dict[str, Any]]:
    """What is known of the components of a name.

    Raises:
        SpecError: there is none, and no table of suites either.
    """
    from fpbench.api import SpecError
    from fpbench.api.errors import nearest
    from fpbench.registry import load
    from fpbench.registry.catalogue import KINDS
    from fpbench.registry.describing import cost, facts
    from fpbench.spec.model import TABLES

    catalogue = load(plugins)
    kinds = [kind for kind in KINDS if name in catalogue.names(kind)]
    if not kinds and name not in TABLES:
        disputes = [said for kind in KINDS if (said := catalogue.dispute(kind, name))]
        named = [each for kind in KINDS for each in catalogue.names(kind)]
        near = nearest(name, [*named, *TABLES, "records"])
        hint = near if near.endswith("?") else "; `fpbench list` shows all"
        raise SpecError(disputes or [f"unknown component '{name}'{hint}"])
    return [
        {
            "kind": kind,
            "name": name,
            "version": cls.version,
            "from": catalogue.origin(kind, name),
            **asdict(cls.card),
            **facts(cls),
            "cost": cost(cls),
            "params": _params(cls.Params),
        }
        for kind in kinds
        for cls in [catalogue.component(kind, name)]
    ]


@click.command()
@suite_argument
@json_option
@click.pass_obj
def show(plugins: tuple[str, ...], suite: str, as_json: bool) -> None:
    """Print SUITE as it is written, to be edited: `fpbench show quickstart > mine.toml`.

    Of a board's folder, the settings that its numbers were made with, and the command that adds a
    method to them. With --json, what it says with all defaults filled in.
    """
    from fpbench.spec import read_suite, suite_text

    if as_json:
        from fpbench.registry import load

        click.echo(json.dumps(read_suite(suite, load(plugins)).resolved(), indent=2))
        return
    click.echo(suite_text(suite, plugins), nl=False)


def _params(params: type[Params]) -> dict[str, Any]:
    from fpbench.registry.describing import parameters

    schema = params.model_json_schema().get("properties", {})
    return {each.name: schema[each.name] | asdict(each) for each in parameters(params)}


def _told(parameter: Mapping[str, Any]) -> str:
    name, default = parameter["name"], parameter["default"]
    needed = "" if default else "; must be given"
    about = f"{f'{name} = {default}' if default else name}   ({parameter['legal']}{needed})"
    head = _under("  ", about)
    meaning = parameter["meaning"]
    return f"{head}\n{_under(' ' * 6, meaning)}" if meaning else head


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

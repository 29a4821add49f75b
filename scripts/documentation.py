"""Hooks of mkdocs: pages that are made of the code, and of files beside `docs/`.

What is said of a parameter, an option or a field is written once, where it is defined. Nothing is
written into the repository: the pages exist while the site is built.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from fpbench.api import Component, Metric, Outcome, Params
from fpbench.cli.main import cli
from fpbench.registry import Catalogue, load
from fpbench.registry.describing import cost, facts, parameters
from fpbench.spec.model import TABLES
from fpbench.store.fields import FIELDS

ROOT = Path(__file__).resolve().parents[1]
_BESIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made of the code, and what lies beside `docs/`."""
    for path, content in pages().items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links from `docs/` to what lies beside it: to its page, else the text alone."""
    if "/" in page.file.src_uri:
        return markdown
    return _linked(markdown, lambda path: _BESIDE.get(path[3:]) if path.startswith("../") else path)


def pages() -> dict[str, str]:
    """Path -> markdown of every page that is made."""
    catalogue = load()
    makers: dict[str, Callable[[], str]] = {
        "notebook.md": _notebook,
        "decisions/index.md": _decisions,
        "reference/commands.md": _commands,
        "reference/suite.md": _suite,
        "reference/methods.md": lambda: _components(catalogue, "Methods", "methods"),
        "reference/attacks.md": lambda: _components(catalogue, "Attacks", "attacks"),
        "reference/components.md": lambda: _components(
            catalogue,
            "Hosts, data sets, codes, clusters",
            "hosts",
            "datasets",
            "modalities",
            "codes",
            "executors",
            "clusters",
        ),
        "reference/records.md": lambda: _records(catalogue),
        "reference/api.md": _api,
    }
    return {path: _beside(name) for name, path in _BESIDE.items()} | {
        path: make() for path, make in makers.items()
    }


def _beside(name: str) -> str:
    """A file beside `docs/`, with its links as they are from within."""
    text = (ROOT / name).read_text(encoding="utf-8")

    def place(path: str) -> str | None:
        if path == "docs/decisions":
            return "decisions/index.md"
        inside = path.startswith("docs/") and Path(path).suffix
        return path.removeprefix("docs/") if inside else _BESIDE.get(path)

    return _linked(text, place)


def _linked(text: str, place: Callable[[str], str | None]) -> str:
    """A text with its relative links led elsewhere; what has no place is said without a link."""

    def mended(link: re.Match[str]) -> str:
        picture, shown, target = link.groups()
        path, mark, part = target.partition("#")
        if "://" in target or not path:
            return link[0]
        led = place(path)
        return f"{picture}[{shown}]({led}{mark}{part})" if led else str(shown)

    return _LINK.sub(mended, text)


def _notebook() -> str:
    """The notebook as a page: its texts and its code."""
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    parts = ["".join(cell["source"]) for cell in cells]
    code = [cell["cell_type"] == "code" for cell in cells]
    shown = [
        f"```python\n{part}\n```" if is_code else part
        for part, is_code in zip(parts, code, strict=True)
    ]
    return "\n\n".join([*shown, "[The notebook](notebook.ipynb) as a file."]) + "\n"


def _decisions() -> str:
    lines = [
        "# Decisions",
        "",
        "What somebody will ask about: the problem, the rule, and its test.",
        "",
    ]
    for path in sorted((ROOT / "docs" / "decisions").glob("0*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        lines.append(f"- [{title}]({path.name})")
    return "\n".join(lines) + "\n"


def _commands() -> str:
    lines = [
        "# Commands",
        "",
        "As `fpbench VERB --help` prints them; what they are for stands in the "
        "[guide](../guide.md#commands).",
    ]
    for path, command in _verbs(cli, ()):
        name = " ".join(("fpbench", *path))
        context = click.Context(command, info_name=name)
        usage = " ".join(command.collect_usage_pieces(context))
        lines += [
            "",
            f"## {name}",
            "",
            f"    {name} {usage}",
            "",
            _text(inspect.getdoc(command.callback)),
        ]
        options = [p for p in command.params if isinstance(p, click.Option)]
        if options:
            lines += ["", "| option | what | as it comes |", "|---|---|---|"]
        for option in options:
            written = ", ".join(f"`{each}`" for each in [*option.opts, *option.secondary_opts])
            if not option.is_flag:
                written += f" {_cell(option.make_metavar(context))}"
            default = option.default if option.show_default and option.default is not None else ""
            lines.append(f"| {written} | {_cell(option.help or '')} | {_cell(str(default))} |")
    return "\n".join(lines) + "\n"


def _verbs(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, each in command.commands.items():
        yield from _verbs(each, (*path, name))


def _suite() -> str:
    lines = [
        "# Keys of a suite",
        "",
        "A suite is a TOML file; `fpbench show quickstart > mine.toml` gives one to edit, and "
        "`fpbench info TABLE` prints what stands here. Every table but `[dataset]`, `[host]` and "
        "one `[[methods]]` has defaults.",
        "",
        "`[dataset]`, `[host]` and each `[[methods]]`, `[[attacks]]` and `[[strangers]]` have a "
        "key `use`, the name of a component, and its parameters: [methods](methods.md), "
        "[attacks](attacks.md), [hosts and data sets](components.md). An attack with a strength "
        'takes it under its own name, one or a list: `quality = [90, 50]`. `like = "label"` in '
        "`[[methods]]` and `[[attacks]]` takes over all keys of an entry above but its label; what "
        "the entry says itself comes first. `[[strangers]]` has a `label`. `[[crosses]]` has "
        "`model` and `image`, the labels of two attacks that are joined.",
    ]
    doubled = {"methods", "attacks", "backbones"}
    for name, table in TABLES.items():
        head = f"[[{name}]]" if name in doubled else f"[{name}]"
        lines += ["", f"## `{head}` {{ #{name} }}", "", _first(table), "", *_table(table)]
    return "\n".join(lines) + "\n"


def _components(catalogue: Catalogue, title: str, *kinds: str) -> str:
    lines = [f"# {title}", "", "Made of the components themselves; `fpbench info NAME` prints it."]
    for kind in kinds:
        if len(kinds) > 1:
            lines += ["", f"## {kind.capitalize()}"]
        for name in catalogue.names(kind):
            cls = catalogue.component(kind, name)
            lines += ["", f"{'###' if len(kinds) > 1 else '##'} {name} {{ #{kind}-{name} }}", ""]
            lines += _card(cls)
            if cls.Params.model_fields:
                lines += ["", *_table(cls.Params)]
            if cls.card.bibtex:
                lines += ["", "```bibtex", cls.card.bibtex, "```"]
    return "\n".join(lines) + "\n"


def _card(cls: type[Component[Any]]) -> list[str]:
    card = cls.card
    lines = [f"**{card.title}.** {_text(card.summary)}", ""]
    if card.differs:
        lines += [f"*What differs from its source:* {_text(card.differs)}", ""]
    told = {"source": card.source, "licence": card.licence, "version": cls.version}
    told |= {**facts(cls), "cost": cost(cls)}
    return [*lines, *(f"- {name}: {value}" for name, value in told.items() if value)]


def _records(catalogue: Catalogue) -> str:
    lines = [
        "# Metrics and records",
        "",
        "## Metrics",
        "",
        "`variant` names the numbers that a metric has for one cell. Formulas and reasons stand in "
        "[how each number is made](../numbers.md).",
    ]
    for name in catalogue.names("metrics"):
        cls = catalogue.component("metrics", name)
        assert issubclass(cls, Metric)
        better = {True: "higher is better", False: "lower is better", None: "neither end is good"}
        about = [cls.unit or "a share", better[cls.higher_is_better], f"version {cls.version}"]
        lines += ["", f"### `{name}` {{ #metrics-{name} }}", "", _text(cls.card.summary), ""]
        lines += [f"*Numbers of a cell:* {_text(inspect.getdoc(cls.measure))}", ""]
        lines.append(f"*In* {', '.join(about)}.")
    lines += ["", "## Fields of a record", "", "A run keeps one JSON object a line in "]
    lines[-1] += "`records.jsonl`; `fpbench.open_run(…).records()` is the same as a pandas frame."
    lines += ["", "| field | what |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(meaning)} |" for name, meaning in FIELDS.items()]
    lines += ["", "## Outcomes", "", _text(inspect.getdoc(Outcome)), ""]
    lines += [f"- `{outcome}`" for outcome in Outcome]
    return "\n".join(lines) + "\n"


def _api() -> str:
    import fpbench
    from fpbench import api
    from fpbench.api import hooks

    lines = ["# What plugins import", "", _text(inspect.getdoc(api)), ""]
    lines += ["`fpbench.api` in full; [the guide for plugins](../plugins.md) says how it is used."]
    for name in sorted(api.__all__):
        lines += _described(f"fpbench.api.{name}", getattr(api, name))
    lines += [
        "",
        "# Hooks { #hooks }",
        "",
        "Functions that a plugin's module marks with `@hookimpl`.",
    ]
    found = [name for name in vars(hooks) if name.startswith("fpbench_")]
    for name in found:
        lines += _described(name, getattr(hooks, name))
    lines += ["", "# From Python { #from-python }", "", "See [In Python](../python.md)."]
    for name in fpbench.__all__:
        lines += _described(f"fpbench.{name}", getattr(fpbench, name))
    return "\n".join(lines) + "\n"


def _described(name: str, thing: Any) -> list[str]:
    lines = ["", f"## `{name}` {{ #{name.replace('.', '-')} }}", ""]
    if isinstance(thing, type) or callable(thing):
        lines += [*_fenced(inspect.getdoc(thing))]
    if isinstance(thing, type) and issubclass(thing, Enum):
        lines += ["", ", ".join(f"`{each.name}`" for each in thing)]
    elif isinstance(thing, type):
        for method, value in vars(thing).items():
            function = (
                value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            )
            if method.startswith("_") or not inspect.isfunction(function):
                continue
            kind = "" if isinstance(value, property) else str(inspect.signature(function))
            lines += ["", f"**`{method}{kind}`**", "", *_fenced(inspect.getdoc(function))]
    return lines


def _fenced(text: str | None) -> list[str]:
    """A docstring as it is written: its sections keep their shape."""
    return ["```text", text, "```"] if text else []


def _table(params: type[Params]) -> list[str]:
    lines = ["| key | as it comes | may be | what |", "|---|---|---|---|"]
    for each in parameters(params):
        default = f"`{each.default}`" if each.default else "must be given"
        lines.append(
            f"| `{each.name}` | {_cell(default)} | {_cell(each.legal)} | {_cell(each.meaning)} |"
        )
    return lines


def _first(cls: type) -> str:
    return (inspect.getdoc(cls) or "").splitlines()[0]


def _cell(text: str) -> str:
    """A text within a row of a table."""
    return _text(text).replace("|", "\\|").replace("\n", " ")


def _text(text: str | None) -> str:
    """A text of the code, in which nothing is markup but `code`."""
    parts = re.split(r"(`[^`]*`)", text or "")
    return "".join(
        part if part.startswith("`") else re.sub(r"([*_<\[])", r"\\\1", part) for part in parts
    )


__all__ = ["on_files", "on_page_markdown", "pages"]

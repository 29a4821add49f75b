"""`new`: a plugin to start from, a whole package of one's own."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fpbench.cli.options import json_option

if TYPE_CHECKING:
    from fpbench.registry import Catalogue

_HIDDEN = ("__pycache__", ".pytest_cache", ".ruff_cache")


@dataclass(frozen=True)
class _Start:
    """What a package of one kind is made of.

    Attributes:
        name: of the component that is copied.
        class_name: of its class.
        stem: with which the names of its classes begin.
        runs: how a suite is told to use it.
    """

    name: str
    class_name: str
    stem: str
    runs: str


_TEMPLATE = _Start("spread-spectrum", "SpreadSpectrum", "Spread", "-m spread-spectrum -m hidden")
_STARTS: Mapping[str, _Start] = {
    "method": _TEMPLATE,
    "attack": _Start("pixelate", "Pixelate", "Pixelate", "-a pixelate"),
    "host": _Start("eigenimages", "Eigenimages", "Eigen", "--set host.use=eigenimages -m hidden"),
    "dataset": _Start("stripes", "Stripes", "Stripes", "--set dataset.use=stripes"),
    "metric": _Start("worst-copy", "WorstCopy", "WorstCopy", ""),
}


@click.command()
@click.argument("kind", type=click.Choice(tuple(_STARTS)))
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="FOLDER",
    help="Where the package's folder is made; default: here.",
)
@json_option
@click.pass_obj
def new(plugins: tuple[str, ...], kind: str, name: str, into: Path, as_json: bool) -> None:
    """Write a package with a plugin of KIND to start from, called NAME.

    It is small and whole: code that works, an entry point, tests that try every rule, a recipe for
    CI. NAME is how suites will ask for it: lower-case words joined by hyphens.
    """
    from fpbench.api import SpecError
    from fpbench.registry import load

    folder = into / f"fpbench-{name}"
    problems = [*_problems(kind, name, load(plugins))]
    if not problems and folder.exists():
        problems = [f"new: expected no {folder}, got one; name another place with --into"]
    if problems:
        raise SpecError(problems)
    written = []
    for path, text in _files(kind, name):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(str(target))
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "files": written}))
        return
    for each in written:
        click.echo(f"  {each}")
    code = folder / f"fpbench_{name.replace('-', '_')}" / "plugin.py"
    click.echo(f"A{_n(kind)} {kind} that works as it is. Next: write yours in {code}.")
    click.echo(f"  try every rule:  fpbench check {folder}")
    click.echo(
        f"  in this Python:  pip install -e {folder}   (with uv: uv pip install -e {folder})"
    )
    click.echo(f"  measure it:      {_command(kind, name)}")


def _problems(kind: str, name: str, catalogue: Catalogue) -> Iterator[str]:
    """Why nothing can be called so."""
    import fpbench.api
    from fpbench.registry.catalogue import NAME

    if not NAME.fullmatch(name):
        plain = "-".join(re.findall("[a-z0-9]+", re.sub("([a-z])([A-Z])", r"\1-\2", name).lower()))
        meant = f"; did you mean '{plain}'?" if plain else ""
        yield f"new: expected a name of lower-case words joined by hyphens, got '{name}'{meant}"
        return
    named, module = _class_name(name), f"fpbench_{name.replace('-', '_')}"
    taken = set(fpbench.api.__all__) | {_STARTS[kind].stem}
    if not named.isidentifier() or keyword.iskeyword(named) or named in taken:
        yield (
            f"new: expected a name that a class can have, got '{name}', and so {named}; take "
            f"another, such as my-{name}"
        )
    elif catalogue.get(f"{kind}s", name) is not None:
        origin = catalogue.origin(f"{kind}s", name)
        yield f"new: expected a name that no {kind} has, got '{name}', which is in {origin}"
    elif find_spec(module) is not None:
        yield f"new: expected a name that no package has, got '{name}': {module} is installed"


def _files(kind: str, name: str) -> Iterator[tuple[Path, str]]:
    """Path within the package and text of each of its files."""
    package, start = _folder("template"), _STARTS[kind]
    for path, source in _walk(package, Path()):
        text = source.read_text(encoding="utf-8")
        if path.name == "plugin.py" and kind != "method":
            text = (_folder("kinds") / f"{kind}.py").read_text(encoding="utf-8")
        if path.suffix != ".py":
            text = re.sub(r"\b([Aa]) method\b", rf"\1{_n(kind)} {kind}", text)
            text = text.replace(f" {_TEMPLATE.runs}", f" {start.runs}".rstrip())
        yield Path(_renamed(str(path), kind, name)), _renamed(text, kind, name)


def _renamed(text: str, kind: str, name: str) -> str:
    own, named = name.replace("-", "_"), _class_name(name)
    for start in (_STARTS[kind], _TEMPLATE):
        text = text.replace(start.name, name).replace(start.class_name, named)
        text = re.sub(rf"\b{start.stem}(?=Params\b)", named, text)
    return text.replace("fpbench_template", f"fpbench_{own}").replace(
        "fpbench-template", f"fpbench-{name}"
    )


def _command(kind: str, name: str) -> str:
    runs = _STARTS[kind].runs.replace(_STARTS[kind].name, name)
    return f"fpbench run quickstart {runs}".strip()


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("-"))


def _n(kind: str) -> str:
    return "n" if kind[0] in "aeiou" else ""


def _folder(name: str) -> Traversable:
    """A folder of plugins that are copied: within the wheel, or of a checkout."""
    shipped = resources.files("fpbench.cli") / "plugins" / name
    if shipped.is_dir():
        return shipped
    return Path(__file__).resolve().parents[2] / "plugins" / name


def _walk(folder: Traversable, place: Path) -> Iterator[tuple[Path, Traversable]]:
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        if each.name in _HIDDEN:
            continue
        if each.is_dir():
            yield from _walk(each, place / each.name)
        else:
            yield place / each.name, each

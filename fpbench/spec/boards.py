"""The suite of a board's folder, as text: with the settings that its numbers were made with.

The source that lies in the folder is the suite as somebody wrote it. What its numbers were made
with, after `--set`, `-a` and `-s` of whoever began the board and with the attacks that it gained,
stands in its `suite.json` alone; who adds a method needs that, and in a form that can be edited.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fpbench.api import Attack, SpecError
from fpbench.api.params import local_names
from fpbench.builtin.chain.attack import Chain
from fpbench.registry import Catalogue
from fpbench.spec import source
from fpbench.spec.model import AttackOptions

Resolved = Mapping[str, Any]

SUBMISSIONS = "submissions.json"
"""What every board has and no run does."""

_TABLES = ("suite", "training", "population", "negatives", "secrecy", "score")
_SINGLE = {"dataset": "datasets", "host": "hosts"}
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_UNIFORM = {"use": "uniform"}  # the codes of a method that says nothing of them


def board_file(folder: Path) -> Path | None:
    """The file that says what a board's numbers are made with; None where the folder is no board.

    Before its first submission that is the suite's source.
    """
    if (folder / SUBMISSIONS).is_file() and (folder / "suite.json").is_file():
        return folder / "suite.json"
    source = folder / "suite.toml"
    return source if source.is_file() and not (folder / "request.json").exists() else None


def board_source(file: Path, catalogue: Catalogue) -> str:
    """The suite of a board's `suite.json`, in TOML.

    Args:
        file: what `Suite.resolved` gave once, or what submissions made of it.
        catalogue: the components there are.

    Raises:
        SpecError: it is no such file, or was made with components that are not installed.
    """
    try:
        resolved = json.loads(file.read_text(encoding="utf-8"))
        problems = list(_strange(resolved, catalogue))
        if problems:
            raise SpecError([f"{file}: {problem}" for problem in problems])
        return "\n".join([*_head(resolved, catalogue), *_tables(resolved, catalogue)]) + "\n"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SpecError(
            [
                f"{file}: expected a resolved suite, got another file ({error!r}); take it from "
                "the last commit"
            ]
        ) from None


def places(resolved: Resolved, catalogue: Catalogue) -> list[str]:
    """`table.parameter` of what was a place on the machine of whoever ran a suite.

    Of these a board knows the last part at most, so that everybody names his own.
    """
    parts = [(kind, name, resolved[name]) for name, kind in _SINGLE.items()]
    parts += [("attacks", f"attacks {a['label']}", a) for a in resolved["attacks"]]
    parts += [("hosts", f"strangers {s['label']}", s) for s in resolved.get("strangers", [])]
    found = []
    for kind, name, part in parts:
        cls = catalogue.get(kind, part["name"])
        local = sorted(local_names(cls.Params)) if cls is not None else []
        found += [f"{name}.{each}" for each in local if part["params"].get(each)]
    return found


def settable(place: str) -> bool:
    """Whether `--set` can name a place; what stands in a list is named in a copy of the suite."""
    return place.partition(".")[0] in _SINGLE


def joining(
    board: str,
    own: Iterable[str],
    methods: Iterable[str] = ("METHOD",),
    attacks: Iterable[str] = (),
) -> str:
    """The command that makes numbers which a board can take, quoted for a shell.

    Args:
        board: its folder.
        own: places that everybody names for himself, as `places` gives them.
        methods: selectors.
        attacks: selectors; empty = those of the board.
    """
    words = ["fpbench", "run", board]
    words += [word for each in methods for word in ("-m", each)]
    words += [word for each in attacks for word in ("-a", each)]
    words += [word for each in own if settable(each) for word in ("--set", f"{each}=PATH")]
    return shlex.join(words)


def selector(entry: Mapping[str, Any]) -> str | None:
    """A table of a suite as `-m` or `-a` takes it; None where its values cannot be written so."""
    own = dict(entry)
    name = own.pop("use")
    written = ",".join(f"{key}={_argument(value)}" for key, value in own.items())
    found = f"{name}[{written}]" if own else str(name)
    try:
        return found if source.selected(found)[:2] == (name, own) else None
    except ValueError:
        return None


def _argument(value: Any) -> str:
    if isinstance(value, list) and len(value) > 1:
        return ",".join(map(_argument, value))
    if isinstance(value, str) and source.parse_value(value) == value:
        return value
    return _value(value)


# -- what is not here --------------------------------------------------------------------------


def _strange(resolved: Resolved, catalogue: Catalogue) -> Iterator[str]:
    """Components of which the installed ones would give numbers that the board cannot take."""
    parts = [(kind, resolved[name]) for name, kind in _SINGLE.items()]
    parts += [("attacks", attack) for attack in resolved["attacks"]]
    for kind, part in parts:
        cls, who = catalogue.get(kind, part["name"]), f"{kind.removesuffix('s')} {part['name']}"
        if cls is None:
            yield (
                f"{who}: expected it to be installed, as where the board's numbers were made; "
                f"install its plugin, or name its module with -p"
            )
        elif cls.version != part["version"]:
            yield (
                f"{who}: the board's numbers were made with version {part['version']}, installed "
                f"is {cls.version}; install the plugin that has the former"
            )


# -- the text ----------------------------------------------------------------------------------


def _head(resolved: Resolved, catalogue: Catalogue) -> Iterator[str]:
    own = places(resolved, catalogue)
    yield "# The settings that the numbers of a board were made with. Adds a method to them:"
    yield "#"
    yield f"#   {joining('BOARD', own)}"
    for place in own:
        how = "--set" if settable(place) else "a copy of this file"
        named = " ".join(place.split())  # a label comes from a file: it must not end the comment
        yield f"# {named}: a place on your machine, which no board knows; name it with {how}."


def _tables(resolved: Resolved, catalogue: Catalogue) -> Iterator[str]:
    for name in _TABLES:
        yield from _table(f"[{name}]", resolved[name])
    for name in _SINGLE:
        yield from _table(f"[{name}]", _component(resolved[name]))
    for method in resolved["methods"]:
        yield from _table("[[methods]]", _method(method, resolved["population"]))
    for attack in resolved["attacks"]:
        yield from _table("[[attacks]]", _attack(attack, catalogue))
    for name in ("crosses", "backbones"):
        for part in resolved.get(name, []):
            yield from _table(f"[[{name}]]", part)
    for stranger in resolved.get("strangers", []):
        yield from _table("[[strangers]]", _labelled(stranger))


def _table(header: str, values: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n{header}"
    # TOML has no None; wherever a suite may say nothing, that is what None stands for.
    yield from (f"{_key(k)} = {_value(v)}" for k, v in values.items() if v is not None)


def _component(part: Resolved) -> dict[str, Any]:
    return {"use": part["name"], **part["params"]}


def _labelled(part: Resolved) -> dict[str, Any]:
    own = _component(part)
    return {"use": own.pop("use"), "label": part["label"], **own}


def _method(method: Resolved, population: Resolved) -> dict[str, Any]:
    own = _labelled(method)
    # Boards of former versions do not say it of a method.
    if method.get("copies", population["copies"]) != population["copies"]:
        own["copies"] = method["copies"]
    codes = _component(method["codes"]) if "codes" in method else _UNIFORM
    return own if codes == _UNIFORM else own | {"codes": codes}


def _attack(attack: Resolved, catalogue: Catalogue) -> dict[str, Any]:
    own = _labelled(attack)
    for name in AttackOptions.model_fields:
        if name != "label" and attack.get(name):
            own[name] = attack[name]
    if attack["name"] == Chain.name:
        own["parts"] = [
            _component(part) | _strength(part["name"], part["strength"], catalogue)
            for part in attack["params"]["parts"]
        ]
    return own | _strength(attack["name"], attack["strengths"], catalogue)


def _strength(name: str, value: Any, catalogue: Catalogue) -> dict[str, Any]:
    """Strengths under the name of the attack's own knob; nothing where it has none."""
    cls = catalogue.get("attacks", name)
    if cls is None:
        raise SpecError([f"unknown attack '{name}' in a chain; install its plugin"])
    assert issubclass(cls, Attack)
    return {cls.strength.name: value} if cls.strength is not None else {}


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        inside: Iterable[str] = (
            f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None
        )
        return f"{{ {', '.join(inside)} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)

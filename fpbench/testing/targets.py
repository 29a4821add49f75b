"""What `fpbench check` is told to look at: a component, a plugin, a module, a file, a folder."""

from __future__ import annotations

import sys
import tomllib
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fpbench.api import SpecError
from fpbench.api.errors import nearest
from fpbench.api.hooks import ENTRY_POINT_GROUP
from fpbench.registry import Catalogue
from fpbench.registry.catalogue import KINDS, imported, offered_by
from fpbench.registry.files import is_file
from fpbench.spec.source import selected
from fpbench.testing.rules import Result, Verdict
from fpbench.testing.shared_rules import one_of


@dataclass(frozen=True)
class Target:
    """A class that is offered, or why a plugin offers none.

    Attributes:
        what: the class, or a component where parameters were said; None where there is none.
        module: of its plugin.
        failed: what became of loading it, where that failed.
    """

    what: Any
    module: str
    failed: Result | None = None


def targets(named: str, catalogue: Catalogue) -> Iterator[Target]:
    """What a name or path stands for.

    Args:
        named: "hidden", "hidden[bits=8]", the name of a plugin, a dotted module, `./file.py`, or
            the folder of a package.
        catalogue: of what is installed.

    Raises:
        SpecError: there is none, or it does not take such parameters.
    """
    if is_file(named) or (Path(named) / "pyproject.toml").is_file():
        if Path(named).is_dir():
            for module in _modules(Path(named)):
                yield from _of_module(module)
        else:
            yield from _of_module(named)
        return
    try:
        name, params, _ = selected(named)
    except ValueError as error:
        raise SpecError([f"check: {error}"]) from None
    found = [kind for kind in KINDS if name in catalogue.names(kind)]
    if found:
        for kind in found:
            cls = catalogue.component(kind, name)
            yield Target(with_params(kind, cls, params) if params else cls, _module_of(cls))
        return
    if broken := catalogue.broken(name):
        yield _failed(broken.plugin, broken.error, broken.trace)
        return
    points = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    module = points.get(name, name)
    if module == name and not _exists(name):
        known = {*points, *(each for kind in KINDS for each in catalogue.names(kind))}
        raise SpecError(
            [
                f"check: expected a component, a plugin, a module, a file like ./mymethod.py or a "
                f"folder with a pyproject.toml, got '{name}'{nearest(name, sorted(known))}"
            ]
        )
    yield from _of_module(module)


def with_params(kind: str, cls: Any, params: Mapping[str, Any]) -> Any:
    """A component with parameters as a selector says them.

    Raises:
        SpecError: it does not take them.
    """
    told = {key: tuple(v) if isinstance(v, list) else v for key, v in params.items()}
    try:
        return cls(cls.Params.model_validate(told))
    except ValidationError as error:
        raise SpecError(
            [
                f"{one_of(kind)} {cls.name}: {'.'.join(map(str, each['loc']))}: {each['msg']}"
                for each in error.errors()
            ]
        ) from None


def _of_module(name: str) -> Iterator[Target]:
    try:
        offered = offered_by(imported(name))
    except Exception as error:  # noqa: BLE001 - a plugin may fail in any way when it is loaded
        said = " ".join(f"{type(error).__name__}: {error}".split())
        yield _failed(name, said, traceback.format_exc())
        return
    for kind, classes in offered.items():
        for cls in classes:
            if isinstance(cls, type) and issubclass(cls, KINDS[kind]):
                yield Target(cls, name)
            else:
                text = (
                    f"fpbench_{kind}(): expected subclasses of {KINDS[kind].__name__}, got {cls!r}"
                )
                yield _failed(name, text, "")


def _failed(plugin: str, said: str, trace: str) -> Target:
    text = f"plugin {Path(plugin).name}: expected a plugin that loads, got {said}"
    asks = "its module loads and has hooks"
    who = f"plugin {Path(plugin).name}"
    return Target(None, plugin, Result(who, "loads", asks, Verdict.BROKEN, text, trace))


def _modules(folder: Path) -> list[str]:
    """Plugin modules of a package that need not be installed."""
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    try:
        points = tomllib.loads(text)["project"]["entry-points"][ENTRY_POINT_GROUP]
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        raise SpecError(
            [
                f"check: expected a pyproject.toml with [project.entry-points.{ENTRY_POINT_GROUP}],"
                f" got none in {folder}; `fpbench new method NAME` writes one"
            ]
        ) from None
    places = [str((folder / sub).resolve()) for sub in ("src", ".")]
    sys.path[:0] = [place for place in places if place not in sys.path]
    return [str(module).partition(":")[0] for module in points.values()]


def _module_of(cls: Any) -> str:
    """The plugin module of an installed class: that of its package, or its own."""
    package = cls.__module__.partition(".")[0]
    if package == "fpbench":
        return str(cls.__module__)
    points = [point.value for point in entry_points(group=ENTRY_POINT_GROUP)]
    return next((value for value in points if value.partition(".")[0] == package), "")


def _exists(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False

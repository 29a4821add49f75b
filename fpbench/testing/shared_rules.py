"""Rules for components of every kind: of their class, their parameters, and their module."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError

from fpbench.api import (
    Attack,
    Component,
    ContractError,
    Needs,
    Params,
    PluginError,
    canonical_json,
)
from fpbench.registry import Catalogue
from fpbench.registry.catalogue import KINDS, NAME, check_class
from fpbench.registry.files import FILE_MODULE
from fpbench.spec.model import AttackOptions, MethodOptions
from fpbench.testing.rules import Rule, Skip

T = TypeVar("T")

_IMPORT_S = 120
_IMPORTING = """
import sys
sys.modules["torch"] = None  # so that whoever imports it is told at once
from fpbench.registry.catalogue import imported
plugin, module, name = sys.argv[1:]
imported(plugin)
cls = imported(module)
for part in name.split("."):
    cls = getattr(cls, part)
if not any(field.is_required() for field in cls.Params.model_fields.values()):
    cls(cls.Params()).needs()
"""


class Subject:
    """A class as it is offered, before anything is made of it.

    Args:
        kind: "methods".
        cls: what a plugin offers.
        catalogue: of what is installed.
        module: the plugin's, a dotted name or the path of a file; empty = the class's own.
    """

    def __init__(self, kind: str, cls: Any, catalogue: Catalogue, module: str = "") -> None:
        self.kind, self.cls, self.catalogue = kind, cls, catalogue
        self.own = module_name(getattr(cls, "__module__", ""))
        self.module = module or self.own
        self.who = f"{one_of(kind)} {getattr(cls, 'name', getattr(cls, '__name__', cls))}"


def _class(subject: Subject) -> str:
    try:
        check_class(subject.kind, subject.cls, subject.module)
    except PluginError as error:
        if not _badly_named(subject):
            raise ContractError(str(error)) from None
    return ""


def _badly_named(subject: Subject) -> bool:
    name = getattr(subject.cls, "name", "")
    return not (isinstance(name, str) and NAME.fullmatch(name))


def _name(subject: Subject) -> str:
    who, cls = subject.who, subject.cls
    if _badly_named(subject):
        check_class(subject.kind, cls, subject.module)
    if dispute := subject.catalogue.dispute(subject.kind, cls.name):
        raise ContractError(f"{who}: {dispute}")
    other = subject.catalogue.get(subject.kind, cls.name)
    if other is not None and not _same_class(other, cls):
        origin = subject.catalogue.origin(subject.kind, cls.name)
        raise ContractError(
            f"{who}: expected a name that nobody has, got that of a class in {origin}; name it "
            "otherwise, for two plugins that offer one name lose it both"
        )
    options = AttackOptions if issubclass(cls, Attack) else MethodOptions
    taken = sorted({*cls.Params.model_fields} & {*options.model_fields, "use"})
    if taken and subject.kind in ("attacks", "methods"):
        raise ContractError(
            f"{who}: expected parameters whose names are none of a suite's own options, got "
            f"'{taken[0]}'; name it otherwise"
        )
    return ""


def _same_class(one: type, other: type) -> bool:
    files = [getattr(sys.modules.get(each.__module__), "__file__", None) for each in (one, other)]
    return one is other or (one.__qualname__ == other.__qualname__ and files[0] == files[1])


def _card(subject: Subject) -> str:
    card = subject.cls.card
    if isinstance(card, property):
        raise Skip("its card depends on its parameters")
    for field, means in (
        ("title", "its name in prose"),
        ("source", 'the paper, or "own"'),
        ("licence", "the licence of this implementation and of data that it carries"),
        ("summary", "a sentence that says what it does"),
    ):
        if not str(getattr(card, field)).strip(" .…?") or getattr(card, field) == "TODO":
            raise ContractError(
                f"{subject.who}: expected `{field}` of its card, {means}, got "
                f"{getattr(card, field)!r}; write it"
            )
    return f"{card.source}; {card.licence}"


def _torch_free(subject: Subject) -> str:
    name = subject.cls.__qualname__
    if "<locals>" in name or subject.own == "__main__":
        raise Skip("it is in no module that another process could load")
    done = subprocess.run(  # noqa: S603 - a text of ours
        [sys.executable, "-c", _IMPORTING, subject.module, subject.own, name],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=_IMPORT_S,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        places = [line.strip() for line in lines if line.lstrip().startswith('File "')]
        own = [place for place in places if "importlib" not in place and "/fpbench/" not in place]
        place = (own or places or ["an unknown place"])[-1].replace('File "', "").replace('"', "")
        raise ContractError(
            f"{subject.who}: expected a module that loads, and `needs`, without torch, so that "
            f"lists and plans take a moment, got {lines[-1] if lines else 'no message'} at "
            f"{place}; import it inside the methods that use it"
        )
    return ""


def _params(component: Component[Any]) -> str:
    who, params = _who(component), component.params
    if not isinstance(params, Params):
        raise ContractError(f"{who}: expected parameters of {type(component).Params.__name__}")
    cls = type(params)
    try:
        text = params.model_dump_json()
        again = cls.model_validate_json(text)
        canonical_json(params.model_dump(mode="json"))
    except (ValueError, TypeError) as error:
        first = str(error).splitlines()[0]
        raise ContractError(
            f"{who}: expected parameters that JSON can tell, got {first}; use numbers, text, "
            "tuples and other models"
        ) from None
    if again != params or again.model_dump_json() != text:
        raise ContractError(
            f"{who}: expected the parameters back as they were written, got {again!r} for "
            f"{params!r}; let validators leave alone what they have made"
        )
    try:
        cls.model_validate({**params.model_dump(), "no-such-parameter": 1})
    except ValidationError:
        pass
    else:
        raise ContractError(
            f"{who}: expected unknown parameters to be refused, got one taken; leave "
            '`extra="forbid"` of fpbench.api.Params as it is'
        )
    if not cls.model_config.get("frozen"):
        raise ContractError(
            f"{who}: expected parameters that cannot be changed, got others; leave `frozen=True` "
            "of fpbench.api.Params as it is"
        )
    return ""


def _needs(component: Component[Any]) -> str:
    needs: object = pure(f"{_who(component)}: needs", component.needs)
    if not isinstance(needs, Needs) or needs.gpus < 0 or needs.memory_gib < 0:
        raise ContractError(
            f"{_who(component)}: needs: expected a fpbench.api.Needs of numbers from 0 on, got "
            f"{needs!r}; return one, or leave `needs` away"
        )
    return f"{needs.gpus} GPUs, {needs.memory_gib:g} GiB"


def pure(who: str, function: Callable[[], T]) -> T:
    """What a function of the plan gives, called twice.

    Raises:
        ContractError: it fails, or gives something else the second time.
    """
    try:
        one, other = function(), function()
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ContractError(
            f"{who}: expected an answer to whatever is asked when a plan is made, got {said}; "
            "answer, or return what the default returns"
        ) from error
    if one != other:
        raise ContractError(
            f"{who}: expected the same answer twice, got {one!r} and {other!r}; let it depend on "
            "its arguments and the parameters alone"
        )
    return one


def _who(component: Component[Any]) -> str:
    kind = next(kind for kind, base in KINDS.items() if isinstance(component, base))
    return f"{one_of(kind)} {component.name}"


def one_of(kind: str) -> str:
    """The name of a kind for one of them."""
    return "modality" if kind == "modalities" else kind.removesuffix("s")


class Plain:
    """A component of a kind that has no rules of its own."""

    def __init__(self, component: Component[Any]) -> None:
        self.component = component


def module_name(module: str) -> str:
    """How the module of a class is named to be loaded: a dotted name, or the path of its file."""
    if module.startswith(FILE_MODULE):
        return str(sys.modules[module].__file__)
    return module


OF_CLASSES: tuple[Rule, ...] = (
    Rule("class", "a finished class with version, Params and card", _class),
    Rule("name", "lower-case words joined by hyphens, and nobody else's", _name),
    Rule("card", "paper and licence are named", _card),
    Rule("torch-free", "its module loads without torch", _torch_free),
)
"""Of a class, before anything is made of it."""

OF_COMPONENTS: tuple[Rule, ...] = (
    Rule("params", "parameters survive being written and read", lambda t: _params(t.component)),
    Rule("needs", "what it asks of a machine is told", lambda t: _needs(t.component)),
)
"""Of a component with parameters."""

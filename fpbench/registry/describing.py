"""What parameters mean and may be, as people read it: of components and of a suite's tables.

Each is said in one place, the docstring and the types of its class; what is printed and the
reference of the documentation are made of that.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python

from fpbench.api import (
    Access,
    Attack,
    Component,
    Host,
    Method,
    Params,
    PassiveMethod,
)
from fpbench.api.params import local_names

_SECTION = re.compile(r"^Attributes:\n((?:[ ]+.*(?:\n|$)|\n)*)", re.M)
_ENTRY = re.compile(r"^    (\w+): (.*(?:\n        .*)*)", re.M)
_INLINE = re.compile(r"`(\w+)`: (.*?)(?=\s+`\w+`: |$)", re.S)


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        name: its key in a suite.
        default: as TOML has it, "none" where nothing is the default; empty if it must be given.
        legal: what it may be.
        meaning: what it does; empty if nobody wrote it.
    """

    name: str
    default: str
    legal: str
    meaning: str


def parameters(params: type[Params]) -> tuple[Parameter, ...]:
    """All parameters of a class, in its order."""
    schema, said, places = params.model_json_schema(), meanings(params), local_names(params)
    found = []
    for name, field in params.model_fields.items():
        default = ""
        if not field.is_required():
            default = _shown(to_jsonable_python(field.get_default(call_default_factory=True)))
        legal = _legal(schema["properties"][name], schema.get("$defs", {}))
        if name in places:
            legal = legal.replace("text", "path", 1)
        found.append(Parameter(name, default, legal, said.get(name, "")))
    return tuple(found)


def meanings(params: type[Params]) -> dict[str, str]:
    """What is written of each parameter.

    In `Field(description=…)`, else under "Attributes:" of the docstring of the class or of one it
    derives from, else, of a short docstring, behind its name: "`bits`: length of a code."
    """
    said: dict[str, str] = {}
    for cls in reversed(params.__mro__):
        text = inspect.cleandoc(vars(cls).get("__doc__") or "")
        section = _SECTION.search(text)
        for name, meaning in (_ENTRY if section else _INLINE).findall(
            section[1] if section else text
        ):
            said[name] = " ".join(meaning.split())
    own = {name: field.description for name, field in params.model_fields.items()}
    return {name: meaning for name in own if (meaning := own[name] or said.get(name, ""))}


def facts(component: type[Component[Any]]) -> dict[str, str]:
    """What a suite's author asks of a method, a host or an attack beside its card."""
    if issubclass(component, Host):
        return {"offers": ", ".join(sorted(component.offers))}
    if issubclass(component, Method):
        return {
            "placement": str(component.placement),
            "reads": str(component.reads),
            "gives": str(component.gives),
            "asks": ", ".join(sorted(component.asks)),
        }
    if not issubclass(component, Attack):
        return {}
    told = {"family": component.family, "access": ", ".join(sorted(component.access))}
    if component.modalities is not None:
        told["samples"] = ", ".join(sorted(component.modalities))
    knob = component.strength
    if knob is not None:
        grid = ", ".join(f"{value:g}" for value in knob.grid)
        unit = f" ({knob.unit})" if knob.unit else ""
        told["strength"] = f"{knob.name}{unit}: {grid}; {knob.legal}"
        if knob.identity is not None:
            told["strength"] += f", {knob.identity:g} changes nothing"
    return told


def cost(component: type[Component[Any]]) -> str:
    """What it takes, in a few words that hold for all its parameters; empty where nothing is paid.

    Seconds are measured when it runs; this is known before.
    """
    if issubclass(component, PassiveMethod):
        return "a training of its own, and one of the host for each copy"
    if issubclass(component, Method):
        once = "one training for each training seed" if component.trains else "trains nothing"
        own = component.issue is not Method.issue
        each = "computes for each further user" if own else "a further user costs nothing"
        if component.enrol is Method.enrol:
            return f"{once}; {each}"
        always = "prepares" if component.enrols is Method.enrols else "may prepare"
        return f"{once}; {each}; {always} all registered users together"
    if issubclass(component, Attack):
        return _cost_of_attack(component)
    if issubclass(component, Host):
        return "trains nothing" if component.pictures else "one training, shared by all methods"
    return ""


def _cost_of_attack(cls: type[Attack[Any]]) -> str:
    said = []
    if cls.fit is not Attack.fit:
        each = {Access.MARKED, Access.EMBEDDER} & cls.access
        often = "for each training of a method" if each else "for all methods"
        said.append(f"learns first, once {often}")
    elif cls.steps is not Attack.steps:
        said.append("trains, for each copy")
    return "; ".join(said) or "trains nothing"


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _legal(schema: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """A JSON schema as a person says it: "whole number, at least 1"."""
    if "$ref" in schema:
        return _legal(known[schema["$ref"].rpartition("/")[2]], known)
    if "anyOf" in schema:
        texts = [_legal(each, known) for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(texts) + (", or none" if len(texts) < len(schema["anyOf"]) else "")
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(json.dumps(value, ensure_ascii=False) for value in values)
    kind = schema.get("type", "")
    if kind == "array":
        return _legal_list(schema, known)
    text = _KINDS.get(kind, "anything")
    return ", ".join([text, *_bounds(schema)])


_KINDS = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "object": "table",
}


def _bounds(schema: Mapping[str, Any]) -> list[str]:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    said = []
    if low is not None and high is not None:
        said.append(f"{_number(low)} to {_number(high)}")
    else:
        said += [f"at least {_number(low)}"] if low is not None else []
        said += [f"above {_number(above)}"] if above is not None else []
        said += [f"at most {_number(high)}"] if high is not None else []
        said += [f"below {_number(below)}"] if below is not None else []
    if "pattern" in schema:
        said.append(f"matching {schema['pattern']}")
    if schema.get("minLength"):
        said.append("not empty")
    return said


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _legal_list(schema: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    least, most = schema.get("minItems"), schema.get("maxItems")
    if "prefixItems" in schema:
        return "list: " + ", ".join(_legal(each, known) for each in schema["prefixItems"])
    size = f", {least} of them" if least == most else f", at least {least}" if least else ""
    size += f", at most {most}" if most and least != most else ""
    return f"list{size if least or most else ''} of: {_legal(schema.get('items', {}), known)}"

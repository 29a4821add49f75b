"""The resolved suite of a bundle or a board, which others wrote: checked before it is used."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fpbench.api import StoreError
from fpbench.publish.manifest import Header
from fpbench.spec.source import set_value

SUITE = "suite.json"
_MOST_SOURCE = 2**20  # bytes of a suite that somebody has written

SuiteJson = dict[str, Any]


class _Open(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Component(_Open):
    name: str
    version: str
    params: dict[str, Any]
    card: dict[str, str] = {}


class _Method(_Component):
    label: str
    trains: bool = True


class _Attack(_Component):
    label: str
    strengths: list[float]


class _Cross(_Open):
    model: str
    image: str


class _Training(_Open):
    seeds: list[int]


class _Suite(_Open):
    suite: dict[str, Any]
    training: _Training
    population: dict[str, Any]
    negatives: dict[str, Any]
    score: dict[str, Any]
    dataset: _Component
    host: _Component
    methods: list[_Method]
    attacks: list[_Attack]
    crosses: list[_Cross]
    backbones: list[dict[str, Any]] = []


def read_suite_json(path: Path) -> SuiteJson:
    """The resolved suite in a file.

    Raises:
        StoreError: it is none.
    """
    try:
        data: SuiteJson = json.loads(path.read_text(encoding="utf-8"))
        checked = _Suite.model_validate(data)
        labels = {attack.label for attack in checked.attacks}
        for cross in checked.crosses:
            if not {cross.model, cross.image} <= labels:
                raise ValueError(f"a cross of attacks that are not listed: {cross}")
        header_of(data)
    except (ValidationError, ValueError, RecursionError) as error:
        text = " ".join(str(error).split())[:300]
        raise StoreError(
            f"{path.name}: expected a resolved suite as a run writes it, got another file: {text}. "
            "Export the run again",
            path=str(path),
        ) from None
    return data


def header_of(suite: SuiteJson) -> Header:
    """Name, version and seed of a suite.

    Raises:
        ValidationError: it has none.
    """
    own = suite["suite"]
    return Header.model_validate({name: own.get(name) for name in ("name", "version", "seed")})


def source_header(path: Path, assignments: Iterable[str]) -> dict[str, Any]:
    """Name, version and seed in a suite's source.

    Args:
        path: of the suite.toml.
        assignments: `table.key=value` changes.

    Raises:
        StoreError: it is none.
    """
    try:
        if path.stat().st_size > _MOST_SOURCE:
            raise ValueError(f"more than {_MOST_SOURCE:,} bytes")
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        for assignment in assignments:
            set_value(data, assignment)
        said = data.get("suite")
        if not isinstance(said, dict):
            raise ValueError("no table [suite]")
    except (ValueError, OSError, RecursionError) as error:
        raise StoreError(
            f"{path.name}: expected the source of a suite in TOML, got {error}. Take it from the "
            "last commit, or export the run again",
            path=str(path),
        ) from None
    return {
        "name": said.get("name"),
        "version": said.get("version", 1),
        "seed": said.get("seed", 0),
    }


def without_cards(value: Any) -> Any:
    """The same without the cards of components, which are texts and may be reworded."""
    if isinstance(value, dict):
        return {k: without_cards(v) for k, v in value.items() if k != "card"}
    if isinstance(value, list):
        return [without_cards(item) for item in value]
    return value

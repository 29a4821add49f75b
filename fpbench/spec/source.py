"""The text of a suite: where each key stands, and changes made on the command line."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from datetime import date, time
from typing import Any, TypeVar

from pydantic import ValidationError

from fpbench.api import Params
from fpbench.api.errors import nearest

M = TypeVar("M", bound=Params)
Texts = dict[str, str | list[str]]
"""Parameter -> how the command line writes its value, or each of its values."""
Path = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[{1,2})\s*([A-Za-z0-9_.-]+)\s*\]{1,2}")
_KEY = re.compile(r"^\s*([A-Za-z0-9_-]+)\s*=")
_MOST_TRAININGS = 1000
_SELECTOR = re.compile(r"^(?P<name>[^\[\]]+?)(\[(?P<params>.*)\])?$")


def locate(text: str) -> dict[Path, int]:
    """Line number of every table and key, e.g. ("methods", 1, "bits") -> 12."""
    lines: dict[Path, int] = {}
    counts: dict[str, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            name = header.group(2)
            if header.group(1) == "[[":
                table = (name, counts.get(name, 0))
                counts[name] = counts.get(name, 0) + 1
            else:
                table = (name,)
            lines[table] = number
        elif key := _KEY.match(line):
            lines.setdefault((*table, key.group(1)), number)
    return lines


def show(path: Path) -> str:
    """A path as a reader writes it: methods[1].bits."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse_value(text: str) -> Any:
    """A TOML value, or the text itself where it is none (so that strings need no quotes)."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return text if isinstance(value, date | time) else value  # no parameter is one


def parsed(cls: type[M], data: Mapping[str, Any], texts: Mapping[str, str | list[str]]) -> M:
    """Parameters of `data`; what only fits as text is the text: a folder 20240115 is no number.

    Args:
        cls: of the parameters.
        data: as TOML gives them.
        texts: how the command line writes some of them.

    Raises:
        ValidationError: they do not fit.
    """
    # JSON mode is strict about types but takes TOML's arrays for tuples.
    try:
        return cls.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        wrong = {
            item["loc"][0]
            for item in error.errors()
            if item["loc"] and item["type"] in ("string_type", "literal_error")
        }
        written = {key: text for key, text in texts.items() if key in wrong}
        if not written:
            raise
        try:
            return cls.model_validate_json(json.dumps({**data, **written}, default=str))
        except ValidationError as other:
            still = {item["loc"][0] for item in other.errors() if item["loc"]}
            raise (error if still & set(written) else other) from None


def likened(entries: list[Any]) -> tuple[list[Any], dict[int, str]]:
    """Entries with what those that say `like = "label"` share with an entry above them.

    An entry has all keys of the one that it is like, but for `label`; its own keys come first.

    Returns:
        (entries, number of an entry -> what is wrong with its `like`).
    """
    found: list[Any] = []
    wrong: dict[int, str] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or "like" not in entry:
            found.append(entry)
            continue
        own = {key: value for key, value in entry.items() if key != "like"}
        above = {
            each.get("label", each.get("use")): each for each in found if isinstance(each, dict)
        }
        other = above.get(entry["like"]) if isinstance(entry["like"], str) else None
        if other is None:
            near = nearest(str(entry["like"]), [str(name) for name in above])
            wrong[number] = f"expected the label of an entry above, got {entry['like']!r}{near}"
        elif own.get("use", other.get("use")) != other.get("use"):
            wrong[number] = (
                f"expected an entry that uses '{own['use']}' too, got one of '{other.get('use')}'"
            )
        shared = {key: value for key, value in (other or {}).items() if key != "label"}
        found.append(shared | own)
    return found, wrong


def set_value(data: dict[str, Any], assignment: str) -> str | None:
    """Apply `table.key=value`; returns what is wrong with it, or None.

    Choosing another component (`dataset.use=…`) drops the parameters of the former one that
    the newcomer need not know: all but `size` and the counts of the splits.
    """
    name, equals, text = assignment.partition("=")
    parts = name.strip().split(".")
    if not equals or len(parts) != 2:
        return f"--set {assignment}: expected TABLE.KEY=VALUE, e.g. dataset.use=image-folder"
    table = data.setdefault(parts[0], {})
    if not isinstance(table, dict):
        return f"--set {assignment}: '{parts[0]}' is a list; edit a copy of the suite instead"
    if parts[1] == "use" and table.get("use") != parse_value(text):
        kept = {"size", "train", "test", "reference"}
        for key in [key for key in table if key not in kept]:
            del table[key]
    table[parts[1]] = parse_value(text)
    return None


def select(
    entries: list[dict[str, Any]], selectors: tuple[str, ...]
) -> list[tuple[int | None, dict[str, Any], Texts]]:
    """The entries that selectors like `jpeg[quality=90,50]` name, with their parameters set.

    A name is that of one entry (its label, or what it uses where it has none) before it is that of
    all entries that use a component. An installed component that the suite does not list is added
    by naming it.

    Returns:
        (its number among `entries` or None, entry, how the selector writes parameters) each.
    """
    numbered: list[tuple[int | None, dict[str, Any]]] = list(enumerate(entries))
    if not selectors:
        return [(number, entry, {}) for number, entry in numbered]
    chosen: list[tuple[int | None, dict[str, Any], Texts]] = []
    for selector in selectors:
        match = _SELECTOR.match(selector)
        name = match.group("name") if match else selector
        called = [(i, e) for i, e in numbered if e.get("label", e.get("use")) == name]
        found = called or [(i, e) for i, e in numbered if e.get("use") == name]
        params, texts = _selector_params((match.group("params") if match else None) or "")
        chosen += [
            (i, _with(entry, params), texts) for i, entry in found or [(None, {"use": name})]
        ]
    return chosen


def selected(selector: str) -> tuple[str, dict[str, Any], Texts]:
    """Name, parameters and how these are written, of a selector like `slurm[partition=gpu]`.

    Raises:
        ValueError: it is none.
    """
    match = _SELECTOR.match(selector)
    if match is None:
        raise ValueError(f"expected NAME or NAME[key=value,…], got {selector!r}")
    return match.group("name"), *_selector_params(match.group("params") or "")


def moved(lines: dict[Path, int], key: str, numbers: list[int | None]) -> dict[Path, int]:
    """Where everything stands once the tables `key` are those of `numbers`, in that order."""
    others = {path: line for path, line in lines.items() if path[0] != key}
    for new, old in enumerate(numbers):
        own = {path: line for path, line in lines.items() if path[:2] == (key, old)}
        others |= {(key, new, *path[2:]): line for path, line in own.items()}
    return others


def _with(entry: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """An entry with parameters set; what it says of strengths that are replaced is dropped."""
    for key, named in (("scored", entry.get("scored")), ("samples", entry.get("samples"))):
        former = [entry[name] for name in params if isinstance(entry.get(name), list)]
        if isinstance(named, list) and any(all(n in f for n in named) for f in former):
            entry = {name: value for name, value in entry.items() if name != key}
    return {**entry, **params}


def _selector_params(text: str) -> tuple[dict[str, Any], Texts]:
    params: dict[str, Any] = {}
    texts: Texts = {}
    key = ""
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, value = part.partition("=")
        if equals:
            key = name.strip()
            params[key], texts[key] = parse_value(value.strip()), value.strip()
        elif key:  # a further value of the same key: quality=90,50
            former = params[key] if isinstance(params[key], list) else [params[key]]
            params[key] = [*former, parse_value(part)]
            written = texts[key]
            texts[key] = [*(written if isinstance(written, list) else [written]), part]
    return params, texts


def parse_seeds(text: str) -> list[int]:
    """`0..4` or `0,2` as a list.

    Raises:
        ValueError: it is neither, or more than anybody trains; the message says which.
    """
    first, dots, last = text.partition("..")
    try:
        low, high = (int(first), int(last)) if dots else (0, 0)
        seeds = [] if dots else [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError("expected 0..4 or 0,2") from None
    if not dots:
        return seeds
    if not 0 <= high - low < _MOST_TRAININGS:
        got = "none" if high < low else f"{high - low + 1:,}"
        raise ValueError(f"expected from 1 to {_MOST_TRAININGS:,} trainings, got {got}")
    return list(range(low, high + 1))

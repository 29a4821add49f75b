"""The text of a suite: where each key stands, and changes made on the command line."""

from __future__ import annotations

import re
import tomllib
from typing import Any

Path = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[{1,2})\s*([A-Za-z0-9_.-]+)\s*\]{1,2}")
_KEY = re.compile(r"^\s*([A-Za-z0-9_-]+)\s*=")
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
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


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
) -> list[tuple[int | None, dict[str, Any]]]:
    """The entries that selectors like `jpeg[quality=90,50]` name, with their parameters set.

    A name is that of one entry (its label, or what it uses where it has none) before it is that of
    all entries that use a component. An installed component that the suite does not list is added
    by naming it.

    Returns:
        (its number among `entries` or None, entry) each.
    """
    numbered: list[tuple[int | None, dict[str, Any]]] = list(enumerate(entries))
    if not selectors:
        return numbered
    chosen = []
    for selector in selectors:
        match = _SELECTOR.match(selector)
        name = match.group("name") if match else selector
        called = [(i, e) for i, e in numbered if e.get("label", e.get("use")) == name]
        found = called or [(i, e) for i, e in numbered if e.get("use") == name]
        params = _selector_params((match.group("params") if match else None) or "")
        chosen += [(i, _with(entry, params)) for i, entry in found or [(None, {"use": name})]]
    return chosen


def selected(selector: str) -> tuple[str, dict[str, Any]]:
    """Name and parameters of a selector like `slurm[partition=gpu]`.

    Raises:
        ValueError: it is none.
    """
    match = _SELECTOR.match(selector)
    if match is None:
        raise ValueError(f"expected NAME or NAME[key=value,…], got {selector!r}")
    return match.group("name"), _selector_params(match.group("params") or "")


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


def _selector_params(text: str) -> dict[str, Any]:
    params: dict[str, Any] = {}
    key = ""
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, value = part.partition("=")
        if equals:
            key = name.strip()
            params[key] = parse_value(value.strip())
        elif key:  # a further value of the same key: quality=90,50
            former = params[key] if isinstance(params[key], list) else [params[key]]
            params[key] = [*former, parse_value(part)]
    return params


def parse_seeds(text: str) -> list[int]:
    """`0..4` or `0,2` as a list.

    Raises:
        ValueError: it is neither.
    """
    first, dots, last = text.partition("..")
    if dots:
        return list(range(int(first), int(last) + 1))
    return [int(part) for part in text.split(",")]

"""Joins the suites and sample strips of several submissions into those of one board."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from fpbench.api import StoreError
from fpbench.publish.redact import SUITE_FILE
from fpbench.publish.strips import INDEX, Index, index_files, read_index, strip_files
from fpbench.publish.suites import SuiteJson, source_header, without_cards
from fpbench.store.objects import write_text
from fpbench.store.sounds import sound_beside

_LISTS = {"methods": "label", "attacks": "label", "crosses": "", "backbones": "use"}
"""Tables of a suite that submissions add to, and what names their entries."""
_TEXTS = ("title", "description")


def unlike(board: SuiteJson, new: SuiteJson, local: Collection[str] = ()) -> list[str]:
    """Why the numbers of two suites cannot be compared, in words; empty if they can.

    Args:
        board: the board's.
        new: that of a submission.
        local: `table.parameter` of what may differ, since it says where things lie.
    """
    ours, theirs = _bare(board, local), _bare(new, local)
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        # What a former version had no table for is as if it were empty.
        if name not in _LISTS and (ours.get(name) or None) != (theirs.get(name) or None):
            found += _unlike(name, ours.get(name), theirs.get(name))
    for name in ("attacks", "backbones"):
        key = _LISTS[name]
        known = {part[key]: part for part in ours.get(name, [])}
        for part in theirs.get(name, []):
            if part != known.get(part[key], part):
                found += _unlike(f"{name} {part[key]}", known[part[key]], part)
    # A method that was not attacked by all that others were would be ranked on fewer numbers; so
    # an attack joins with all methods, and a method with all attacks.
    staying = _names(ours, "methods") - _names(theirs, "methods")
    for name in ("attacks", "crosses"):
        mine, other = (_names(suite, name) for suite in (ours, theirs))
        if mine - other or (staying and other - mine):
            found += [f"{name}: the board has {sorted(mine)}, the bundle {sorted(other)}"]
    return found


def more_attacks(board: SuiteJson, new: SuiteJson) -> set[str]:
    """Labels of the attacks that a board has not."""
    return _names(new, "attacks") - _names(board, "attacks")


def _names(suite: SuiteJson, table: str) -> set[str]:
    return {_name(part, _LISTS[table]) for part in suite.get(table, [])}


def merged(board: SuiteJson, new: SuiteJson) -> SuiteJson:
    """The board's suite with what the new one adds; a method of the same label is the new one.

    Of everything else that both have, the board's own words stay.
    """
    whole = dict(board)
    for name, key in _LISTS.items():
        known = {_name(part, key): part for part in board.get(name, [])}
        more = {_name(part, key): part for part in new.get(name, [])}
        both = known | more if name == "methods" else known | more | known
        whole[name] = list(both.values())
    return whole


def check_source(folder: Path, new: SuiteJson) -> None:
    """Refuse a suite that is not the one whose source lies in a board's folder.

    Raises:
        StoreError: it has another name, version or seed, or the source cannot be read.
    """
    source = folder / SUITE_FILE
    if not source.is_file():
        return
    ours = source_header(source, ())
    theirs = {name: new["suite"][name] for name in ours}
    if ours != theirs:
        raise StoreError(
            f"board {folder}: expected the suite of its {SUITE_FILE}, {ours}, got {theirs}; name "
            "the board of that suite",
            path=str(source),
        )


def _name(part: dict[str, Any], key: str) -> str:
    return str(part[key]) if key else json.dumps(part, sort_keys=True)


def _bare(suite: SuiteJson, local: Collection[str]) -> SuiteJson:
    """What must be equal: no texts, and no places."""
    bare: SuiteJson = without_cards(suite)
    bare["suite"] = {k: v for k, v in bare["suite"].items() if k not in _TEXTS}
    for name in ("dataset", "host"):
        params = bare[name]["params"].items()
        own = {k: v for k, v in params if f"{name}.{k}" not in local}
        bare[name] = bare[name] | {"params": own}
    return bare


def _unlike(name: str, ours: Any, theirs: Any) -> list[str]:
    """Every key in which two tables differ."""
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        return [f"{name}: the board has {ours!r}, the bundle {theirs!r}"]
    ours, theirs = _flat(ours), _flat(theirs)
    return [
        f"{name}.{key}: the board has {ours.get(key)!r}, the bundle {theirs.get(key)!r}"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]


def _flat(table: dict[str, Any]) -> dict[str, Any]:
    """Parameters as a suite has them, beside all else; those of a component of another name, too.

    A key of its own comes before a parameter of that name.
    """
    return {**table.get("params", {}), **{k: v for k, v in table.items() if k != "params"}}


# -- strips ------------------------------------------------------------------------------------


def merge_strips(board: Path, new: Path, methods: Collection[str], mark: str) -> None:
    """Put the strips of some methods into a board's folder of strips, and drop those replaced.

    Files that the former index does not name are none of ours, and stay.

    Args:
        board: the board's `samples` folder; made if absent.
        new: the bundle's; may be absent.
        methods: labels whose former strips go.
        mark: put before the name of a file where the board has another one of this name.
    """
    index = _read(board)
    former = index_files(index)
    index["methods"] = {k: v for k, v in index["methods"].items() if k not in methods}
    more = _read(new)
    board.mkdir(parents=True, exist_ok=True)
    for name in ("host", "real"):
        if name in more and name not in index:
            index[name] = _place(new, board, more[name], mark)
    for name in former - index_files(index):
        if Path(name).name == name:
            (board / name).unlink(missing_ok=True)
            sound_beside(board / name).unlink(missing_ok=True)
    for label, strips in more["methods"].items():
        names = {name: _place(new, board, name, mark) for name in sorted(strip_files(strips))}
        index["methods"][label] = _renamed(strips, names)
    write_text(board / INDEX, json.dumps(index, indent=1, sort_keys=True) + "\n")


def _read(folder: Path) -> Index:
    file = folder / INDEX
    if not file.is_file():
        return {"methods": {}}
    index = read_index(file)
    index.pop("key", None)  # of one run
    return {"methods": {}, **index}


def _place(source: Path, target: Path, name: str, mark: str) -> str:
    """Copy a strip and its sound; under another name where the board has another strip of it."""
    old, content, there = name, (source / name).read_bytes(), target / name
    if there.is_file() and there.read_bytes() != content:
        name = f"{mark}-{name}"
    (target / name).write_bytes(content)
    if (heard := sound_beside(source / old)).is_file():
        sound_beside(target / name).write_bytes(heard.read_bytes())
    return name


def _renamed(strips: Any, names: dict[str, str]) -> Any:
    if isinstance(strips, dict):
        return {k: _renamed(v, names) for k, v in strips.items()}
    if isinstance(strips, list):
        return [_renamed(item, names) for item in strips]
    return names.get(strips, strips)

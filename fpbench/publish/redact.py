"""Takes out of a run what must not be published: local paths, and photographs of real people.

A path says who somebody is and how a machine is laid out; its last part says what is meant. Images
of a data set are shown twice by a run: as the strip `real`, and by forgeries, which start from
clean images. What copies and hosts draw stays.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import PureWindowsPath
from typing import Any

from fpbench.execute.request import Request
from fpbench.spec.model import LEFT_OUT

Record = dict[str, Any]

SUITE_FILE = "suite.toml"
_FREE = frozenset({"reason", "environment", "detail", "params"})
"""Fields whose texts come from plugins and machines; all other texts are names."""

_SAID = ("title", "description")

_START = r"(?:~[\w.-]*[/\\]|[A-Za-z]:[/\\]|\\\\(?=\w)|/)"
_PART = r"[^\s/\\'\"`,;:()<>|=\[\]{}]+"
_UP = rf"(?:\.\.[/\\])+(?={_PART}[/\\])"
_QUOTED = re.compile(rf"""(["'`])((?:file:/+)?{_START}[^"'`\n]*)\1""")
_IN_TEXT = re.compile(
    rf"""(?P<url>\b(?!file:)[A-Za-z][\w+.-]+://\S*)   # elsewhere, and public
       | (?<![\w./\\~-])(?:(?:file:/+(?=/))?{_START}|{_UP}){_PART}(?:[/\\]+{_PART})*[/\\]?""",
    re.VERBOSE,
)
_WHOLE = re.compile(
    rf"(?:(?:file:/+(?=/))?{_START}|(?:\.\.[/\\])+[^/\\]+[/\\]).*",
    re.DOTALL,
)
_TOML_LINE = re.compile(
    r"""(?P<value>(?:[^"'#]|"(?:\\.|[^"\\])*"|'[^']*')*)(?P<comment>(?:\#.*)?\n?)""",
)
_OPTION = re.compile(r"(-\w|[^=]*=)(.*)", re.DOTALL)


def text(value: str) -> str:
    """The text with absolute paths cut down to their last parts; URLs stay."""
    value = _quoted_paths(value)
    return _IN_TEXT.sub(lambda m: m[0] if m["url"] else _last(m[0]), value)


def source(toml: str) -> str:
    """A suite's text without paths in comments, in what is said of it, and as whole values.

    Within other values what looks like a path may be a name, which is part of what was run.
    """
    cut = "".join(map(_source_line, toml.splitlines(keepends=True)))
    try:
        header = tomllib.loads(cut).get("suite", {})
    except (ValueError, RecursionError):  # no suite; whoever reads it says so
        return cut
    texts = [header.get(name) for name in _SAID] if isinstance(header, dict) else []
    return _without_paths(cut, *(each for each in texts if isinstance(each, str)))


def without_commands(toml: str, resolved: Mapping[str, Any]) -> str:
    """A suite's text without the commands and functions that it brings.

    Args:
        toml: its text.
        resolved: what it comes to, where they are left out already.
    """
    names = {
        name
        for method in resolved.get("methods", ())
        for name, value in method.get("params", {}).items()
        if value in (LEFT_OUT, [LEFT_OUT])
    }
    kept: list[str] = []
    lines = iter(toml.splitlines(keepends=True))
    for line in lines:
        key, equals, value = line.partition("=")
        if not equals or key.strip() not in names:
            kept.append(line)
            continue
        while not _is_value(value):
            more = next(lines, None)
            if more is None:
                break
            value += more
        said = [LEFT_OUT] if value.lstrip().startswith("[") else LEFT_OUT
        kept.append(f"{key.rstrip()} = {json.dumps(said)}\n")
    return "".join(kept)


def _is_value(text: str) -> bool:
    try:
        return bool(tomllib.loads(f"value = {text}"))
    except tomllib.TOMLDecodeError:
        return False


def command(line: str) -> str:
    """A command line alike; a word of it may be `KEY=PATH`, and hold spaces in quotes."""
    words = shlex.shlex(line, posix=True)
    words.whitespace_split, words.commenters, words.escape = True, "", ""
    try:
        return shlex.join(word(each) for each in words)
    except ValueError:  # a quote that is never closed
        return text(line)


def word(value: str) -> str:
    """One word of a command line: a path, `KEY=PATH`, `-oPATH`, or a text with paths in it."""
    if _WHOLE.fullmatch(value):
        return _last(value)
    if (option := _OPTION.fullmatch(value)) and _WHOLE.fullmatch(option[2]):
        return option[1] + _last(option[2])
    return text(value)


def record(value: Mapping[str, Any]) -> Record:
    """A record without local paths, and without the history that stays in the run."""
    kept = {k: _free(v) if k in _FREE else _inside(v) for k, v in value.items()}
    kept.pop("supersedes", None)
    if "command" in kept:
        kept["command"] = command(kept["command"])
    return kept


def suite(value: Record) -> Record:
    """A resolved suite without local paths in parameters and in what is said of it."""
    found: Record = _inside(value)
    header = found.get("suite", {})
    said = {k: header[k] for k in _SAID if isinstance(header.get(k), str)}
    if said:
        cut = {k: _without_paths(value, *said.values()) for k, value in said.items()}
        found["suite"] = {**header, **cut}
    return found


def request(value: Request) -> Request:
    """What made a run, as it is repeated beside the suite's own file."""
    portable = value.portable()
    return replace(
        portable,
        suite=SUITE_FILE,
        assignments=tuple(map(word, portable.assignments)),
        methods=tuple(map(word, portable.methods)),
        attacks=tuple(map(word, portable.attacks)),
        backbones={
            name: {key: text(each) for key, each in known.items()}
            for name, known in portable.backbones.items()
        },
    )


def samples(index: Record, photographs: Collection[str]) -> Record:
    """The index of sample strips without those that show images of the data set.

    Args:
        index: the content of `samples.json`.
        photographs: labels of the points whose strips start from such images.
    """
    methods = {
        label: {**strips, "points": _without(strips.get("points", {}), photographs)}
        for label, strips in index.get("methods", {}).items()
    }
    return {**_without(index, {"real"}), "methods": methods}


def _without_paths(whole: str, *texts: str) -> str:
    """What is written, without the paths that stand in some texts; a word after a slash stays."""
    paths = {
        match[0]
        for each in texts
        for match in _IN_TEXT.finditer(each)
        if not match["url"] and len(re.findall(r"[^/\\]+", match[0])) > 1
    }
    for path in sorted(paths, key=len, reverse=True):
        for written in (path.replace("\\", r"\\"), path):  # with backslashes escaped, or not
            whole = whole.replace(written, _last(path))
    return whole


def _source_line(line: str) -> str:
    match = _TOML_LINE.fullmatch(line)
    if match is None:  # within a text of several lines
        return _quoted_paths(line)
    return _quoted_paths(match["value"]) + text(match["comment"])


def _quoted_paths(value: str) -> str:
    return _QUOTED.sub(lambda m: f"{m[1]}{_last(m[2])}{m[1]}", value)


def _without(values: Mapping[str, Any], names: Collection[str]) -> Record:
    return {k: v for k, v in values.items() if k not in names}


def _inside(value: Any) -> Any:
    """Parameters may stand at any depth."""
    if isinstance(value, Mapping):
        return {k: _free(v) if k == "params" else _inside(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_inside(item) for item in value]
    return value


def _free(value: Any) -> Any:
    if isinstance(value, str):
        return _free_text(value)
    if isinstance(value, Mapping):
        return {k: _free(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_free(item) for item in value]
    return value


def _free_text(value: str) -> str:
    """A path as a whole, which may hold spaces; `PATH: what is wrong with it`; or a text."""
    head, colon, tail = value.partition(": ")
    if _WHOLE.fullmatch(head) and "\n" not in head:
        return _last(head) + colon + text(tail)
    return text(value)


def _last(path: str) -> str:
    """The last part of a path of either kind."""
    return PureWindowsPath(path.rstrip("/\\")).name or "."

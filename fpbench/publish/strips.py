"""The index of sample strips: which files it names, and whether they are what it says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from fpbench.api import StoreError
from fpbench.store.objects import read_object
from fpbench.store.sounds import sound_beside

INDEX = "samples.json"
_PNG = b"\x89PNG\r\n\x1a\n"
_RIFF = b"RIFF"

Index = dict[str, Any]


def strip_files(strips: Mapping[str, Any]) -> set[str]:
    """Files that the entry of one method names."""
    training = (steps.values() for steps in strips.get("training", {}).values())
    names = {*strips.get("codes", []), strips.get("residual", ""), *strips["points"].values()}
    return names.union(*training) - {""}


def index_files(index: Index) -> set[str]:
    """Files that an index names."""
    own = {index.get(name, "") for name in ("host", "real")} - {""}
    return own.union(*(strip_files(strips) for strips in index.get("methods", {}).values()))


def problems_of(index: Index, folder: Path, methods: Iterable[str]) -> list[str]:
    """What is wrong with an index and the files beside it, in words."""
    try:
        named, labels = index_files(index), set(index.get("methods", {}))
    except (AttributeError, KeyError, TypeError) as error:
        return [f"samples: expected an index as a run writes it, got {error!r} in {INDEX}"]
    there = {path.name for path in folder.iterdir()} - {INDEX}
    sounds = {sound_beside(Path(str(name))).name for name in named} & there
    there -= sounds
    found = [
        f"samples: {name!r} is listed and not there" for name in sorted(map(str, named - there))
    ]
    found += [f"samples: {name!r} is there and not listed" for name in sorted(there - named)]
    found += [
        f"samples: {label!r} is no method of the suite" for label in sorted(labels - set(methods))
    ]
    found += [
        f"samples: expected a PNG image, got another file: {name!r}"
        for name in sorted(there & named)
        if not _starts(folder / name, _PNG)
    ]
    found += [
        f"samples: expected a WAV file, got another file: {name!r}"
        for name in sorted(sounds)
        if not _starts(folder / name, _RIFF)
    ]
    return found


def photographs_in(index: Index, forged: Collection[str]) -> list[str]:
    """Strips that show images of the data set, in words.

    Args:
        index: a whole one.
        forged: labels of the points whose strips start from such images.
    """
    shown = ["real"] if index.get("real") else []
    for label, strips in index.get("methods", {}).items():
        shown += [f"{label} under {point}" for point in strips["points"] if point in forged]
    return [
        f"samples: expected no strip of images of the data set, since the manifest says so, got "
        f"{name!r}; export the run again, with --keep-real if no real person is on them"
        for name in shown
    ]


def read_index(file: Path) -> Index:
    """The index in a file, if it is one at all.

    Raises:
        StoreError: it is none.
    """
    index = read_object(file)
    if index is not None and isinstance(index.get("methods", {}), dict):
        return index
    raise StoreError(f"samples: expected an index of strips in {file}, got none; run again")


def _starts(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark

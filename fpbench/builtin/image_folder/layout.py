"""Which images belong to which split, from the folders they lie in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Pool = Literal["pool", "train", "test", "val"]

_WORDS: dict[str, Pool] = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
_AFFIX = r"(?:set|split|data|images?|imgs?)"
# train2017, trainA, test-set, images_val: somebody's splits, but not by a name that is known.
_ALIKE = re.compile(
    rf"(?:{_AFFIX}[-_ .]?)?(train|training|test|testing|val|valid|validation|dev|eval)"
    rf"(?:[-_ .]?(?:{_AFFIX}|[ab]|\d+))?"
)
_FILE_ALIKE = re.compile(r"(?:^|[-_ .])(train|test|val|valid|validation)(?:ing)?(?:[-_ .]|\d)")


class UnclearLayout(Exception):
    """The folders look like splits that cannot be told apart; says what was expected and got."""


@dataclass(frozen=True)
class Layout:
    """Which image is for what.

    Attributes:
        pools: names of files by the pool they belong to; "pool" alone without split folders.
        folders: name of a split folder -> the pool that it is.
        wrapping: folders that hold everything, from the outermost, which were looked through.
    """

    pools: dict[Pool, list[str]]
    folders: dict[str, Pool]
    wrapping: tuple[str, ...]

    @property
    def serves(self) -> dict[str, str]:
        """The folder of validation images, if there is one, and what it is taken for."""
        role = "as reference" if "test" in self.pools else "as test"
        return {folder: role for folder, pool in self.folders.items() if pool == "val"}

    def __str__(self) -> str:
        """How splits were found."""
        below = f"below {'/'.join(self.wrapping)}: " if self.wrapping else ""
        if not self.folders:
            return f"{below}one pool that is split by contents"
        return below + ", ".join(
            f"{folder} {self.serves.get(folder, f'as {pool}')}"
            for folder, pool in sorted(self.folders.items())
        )


def assign(names: Iterable[str]) -> Layout:
    """Names of files by the pool they belong to.

    Folders that wrap everything are skipped. Names are paths with `/`.

    Raises:
        UnclearLayout: it looks like splits, but not wholly.
    """
    parts, wrapping = _unwrapped(
        {name: tuple(p for p in name.split("/") if p != ".") for name in names}
    )
    tops = {path[0] for path in parts.values() if len(path) > 1}
    known = {top: _WORDS[top.casefold()] for top in tops if top.casefold() in _WORDS}
    if not known:
        _check_unsplit(parts)
        return Layout({"pool": list(parts)}, {}, wrapping)
    _check_split(parts, known)
    found: dict[Pool, list[str]] = {pool: [] for pool in known.values()}
    for name, path in parts.items():
        found[known[path[0]]].append(name)
    return Layout(found, known, wrapping)


def _unwrapped(
    parts: Mapping[str, tuple[str, ...]],
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The paths below the folders that hold everything, unless such a folder names a split."""
    wrapping: list[str] = []
    while True:
        heads = {path[0] if len(path) > 1 else "" for path in parts.values()}
        if len(heads) != 1 or "" in heads or any(_alike(head) for head in heads):
            return dict(parts), tuple(wrapping)
        parts = {name: path[1:] for name, path in parts.items()}
        wrapping += heads


def _alike(folder: str) -> bool:
    return _ALIKE.fullmatch(folder.casefold()) is not None


def _check_split(parts: Mapping[str, Sequence[str]], known: Mapping[str, Pool]) -> None:
    folders = ", ".join(sorted(known))
    tops = {path[0] for path in parts.values() if len(path) > 1}
    if unknown := sorted(top for top in tops - known.keys() if _alike(top)):
        raise UnclearLayout(
            f"splits that are called train, test and val, got {', '.join(unknown)} beside {folders}"
        )
    if len(set(known.values())) < len(known):
        raise UnclearLayout(f"one folder for each of train, test and val, got {folders}")
    if "train" not in known.values() or len(known) == 1:
        raise UnclearLayout(f"a folder train with test or val beside it, got {folders} alone")
    outside = [name for name, path in parts.items() if len(path) == 1 or path[0] not in known]
    if outside:
        raise UnclearLayout(
            f"all images in {folders}, got {len(outside):,} elsewhere such as {min(outside)}"
        )


def _check_unsplit(parts: Mapping[str, Sequence[str]]) -> None:
    folders = {folder for path in parts.values() for folder in path[:-1] if _alike(folder)}
    if folders:
        raise UnclearLayout(
            "folders train and test (or val) at the top, or none that are called so, got "
            + ", ".join(sorted(folders))
        )
    found = (_FILE_ALIKE.search(path[-1].casefold()) for path in parts.values())
    kinds = {_WORDS[match.group(1)] for match in found if match}
    if "train" in kinds and len(kinds) > 1:
        raise UnclearLayout(
            "splits as folders train and test, got file names that say "
            + " and ".join(sorted(kinds))
        )

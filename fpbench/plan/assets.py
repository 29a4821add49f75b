"""Files that components open and nobody trains here: where they lie, which are missing."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from fpbench.api import ContractError, MissingResource, StageError
from fpbench.backbones.weights import sha256_of

_BY_HAND = "bring it, and name its folder with --weights DIR or FPBENCH_WEIGHTS"


def find_asset(name: str, sha256: str, folder: Path | None) -> Path:
    """A file of a folder, checked by content.

    Args:
        name: of the file, perhaps with folders before it.
        sha256: of its content, hexadecimal.
        folder: of files that are brought by hand.

    Raises:
        ContractError: the name leads out of the folder.
        MissingResource: it is not there.
        StageError: it is there with other content.
    """
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or not place.parts:
        raise ContractError(f"asset {name!r}: expected the name of a file below the folder")
    if folder is None:
        raise MissingResource(
            f"asset {name}: expected a folder of such files, got none; {_BY_HAND}"
        )
    path = folder / place
    if not path.is_file():
        raise MissingResource(
            f"asset {name}: expected it in {folder}, got no such file; {_BY_HAND}"
        )
    found = sha256_of(path)
    if found != sha256.lower():
        raise StageError(
            f"asset {name}: expected the SHA-256 {sha256.lower()}, got {found} of {path}; bring "
            "the file that was meant"
        )
    return path


def missing_assets(component: Any, folder: Path | None) -> list[str]:
    """A sentence about each file that a component opens and this machine lacks."""
    said = []
    for name, sha256 in sorted(component.assets.items()):
        try:
            find_asset(name, sha256, folder)
        except (MissingResource, StageError) as error:
            said.append(str(error))
    return said

"""What lies in the folders of images that were marked elsewhere, and which code each bears."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from fpbench.api import ContractError
from fpbench.builtin.image_folder.files import Unreadable, open_files
from fpbench.builtin.image_folder.findings import shown
from fpbench.builtin.image_folder.pixels import DamagedImage, decode_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["codes_of", "listed", "picture"]

_SOME = 5  # that messages name


def listed(who: str, place: str) -> dict[str, str]:
    """The images of a folder or zip: name without its suffix -> file, in the order of names.

    Raises:
        ContractError: two of them have one name.
        MissingResource: there are none.
    """
    found: dict[str, str] = {}
    listing = open_files(Path(place)).listing()
    for file, (kind, why) in listing.unusable.items():
        raise ContractError(
            f"{who}: expected images alone, got {shown(file)}, which is {kind.words}"
            f"{why and f' ({why})'}; {kind.cure}"
        )
    for file in sorted(listing.images):
        name = PurePosixPath(file).with_suffix("").as_posix()
        if name in found:
            raise ContractError(
                f"{who}: expected names of their own without their suffixes, got {shown(file)} "
                f"beside {shown(found[name])}; rename one"
            )
        found[name] = file
    return dict(sorted(found.items()))


def picture(who: str, place: str, file: str, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) uint8 of one of them, as it is.

    Raises:
        ContractError: it is of another size, or no image.
    """
    try:
        found = decode_whole(open_files(Path(place)).read(file))
    except (DamagedImage, Unreadable) as error:
        raise ContractError(f"{who}: expected an image, got {shown(file)}: {error}") from None
    if found.shape != (size, size, 3):
        raise ContractError(
            f"{who}: expected images of {size} by {size} pixels, as [dataset] size says, got "
            f"{shown(file)} of {found.shape[1]} by {found.shape[0]}; set the size, or cut them"
        )
    return found


def codes_of(who: str, place: str, names: list[str], bits: int) -> NDArray[np.bool_]:
    """(N, K) bool: the codes of images by their names.

    The file has a line `name,code` for each of them, such as `kodak/03.png,01101001`, names with
    or without their suffixes; a first line of other words is a title, lines of others are not read.

    Raises:
        ContractError: an image has none, or one of another length.
    """
    import numpy as np

    codes = _lines(who, place, Path(place).stat().st_mtime_ns)
    rows = [codes.get(name) for name in names]
    if lacking := [shown(n) for n, row in zip(names, rows, strict=True) if row is None]:
        raise ContractError(
            f"{who}: expected a line `name,code` in {shown(place)} for each image, got none for "
            f"{_few(lacking)}; add them"
        )
    if other := [
        f"{shown(n)} ({len(r)})" for n, r in zip(names, rows, strict=True) if r and len(r) != bits
    ]:
        raise ContractError(
            f"{who}: expected codes of {bits} bits, as `bits` says, got {_few(other)}; mend the "
            "file or set `bits`"
        )
    return np.array([[bit == "1" for bit in row or ""] for row in rows], dtype=bool)


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SOME:,} more" if len(names) > _SOME else ""
    return ", ".join(names[:_SOME]) + more


@lru_cache(maxsize=8)
def _lines(who: str, place: str, written: int) -> dict[str, str]:
    del written  # a file that has changed is read again
    found: dict[str, str] = {}
    with Path(place).open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if not row or (number == 1 and not set(row[-1].strip()) <= {"0", "1"}):
                continue
            if len(row) != 2 or not row[1].strip() or not set(row[1].strip()) <= {"0", "1"}:
                raise ContractError(
                    f"{who}: expected lines `name,code` with codes of 0 and 1, got line {number} "
                    f"of {shown(place)}: {shown(','.join(row))[:80]}; mend it"
                )
            found[_name(row[0].strip())] = row[1].strip()
    return found


def _name(given: str) -> str:
    path = PurePosixPath(given)
    return path.with_suffix("").as_posix() if given else given

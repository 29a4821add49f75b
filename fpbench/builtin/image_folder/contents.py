"""What the images of a folder hold: read once, then known by path, size and time.

What is known lies in a file in the user's cache, one for each place and read size. Nothing trusts
it longer than until an image is read: its bytes are compared then.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fpbench.api import MissingResource
from fpbench.builtin.image_folder.files import Files, Listing, shown
from fpbench.builtin.image_folder.pixels import DamagedImage, decode_square
from fpbench.builtin.published_sets.prepared import data_folder

_RULE = 1  # raised with every change of how pixels are made
_NAMED = 3  # damaged images named in one message


@dataclass(frozen=True)
class Content:
    """Of one image.

    Attributes:
        bytes: SHA-256 of its file.
        pixels: SHA-256 of the pixels that are used.
    """

    bytes: str
    pixels: str


def contents_of(files: Files, listing: Listing, size: int) -> dict[str, Content]:
    """Name -> content of every image; what was not looked at before is decoded.

    Raises:
        MissingResource: some are damaged; names them.
    """
    place = _place(files.path, size)
    known = _known(place)
    found = {
        name: known[name][1]
        for name, stamp in listing.images.items()
        if name in known and known[name][0] == stamp
    }
    new = [name for name in listing.images if name not in found]
    damaged: dict[str, str] = {}
    lock = threading.Lock()

    def look(name: str) -> None:
        data = files.read(name)
        try:
            pixels = decode_square(data, size)
        except DamagedImage as error:
            with lock:
                damaged[name] = str(error)
        else:
            content = Content(sha256(data), hashlib.sha256(pixels.tobytes()).hexdigest())
            with lock:
                found[name] = content

    if new:
        pool = ThreadPoolExecutor(min(16, os.cpu_count() or 1))
        try:
            for _ in pool.map(look, new):
                pass
        finally:  # whoever is interrupted goes on from there
            pool.shutdown(cancel_futures=True)
            _keep(place, listing, found)
    if damaged:
        raise MissingResource(_of_damaged(files.path, damaged))
    return found


def forget(path: Path, size: int) -> None:
    """Look at everything again the next time."""
    with contextlib.suppress(OSError):
        _place(path, size).unlink()


def sha256(data: bytes) -> str:
    """Digest of bytes."""
    return hashlib.sha256(data).hexdigest()


def _of_damaged(path: Path, damaged: Mapping[str, str]) -> str:
    named = [f"{shown(name)} ({shown(damaged[name])})" for name in sorted(damaged)[:_NAMED]]
    more = len(damaged) - len(named)
    return (
        f"dataset image-folder: expected whole images in {shown(path)}, got {len(damaged):,} that "
        f"cannot be used: {'; '.join(named)}{f' and {more:,} more' if more else ''}; mend, "
        "convert or remove them"
    )


def _place(path: Path, size: int) -> Path:
    where = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:24]
    return data_folder() / "image-folder" / f"{where}-{size}.json"


def _made_by() -> list[object]:
    return [_RULE, metadata.version("pillow")]


def _known(place: Path) -> dict[str, tuple[tuple[int, int], Content]]:
    try:
        data = json.loads(place.read_text(encoding="utf-8"))
        if data["by"] != _made_by():
            return {}
        return {
            name: ((length, time), Content(str(whole), str(pixels)))
            for name, (length, time, whole, pixels) in data["images"].items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _keep(place: Path, listing: Listing, found: Mapping[str, Content]) -> None:
    rows = {n: [*listing.images[n], c.bytes, c.pixels] for n, c in found.items()}
    partial = place.with_suffix(f".json-{os.getpid()}")
    # Where nothing can be written, everything is read again.
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"by": _made_by(), "images": rows}), encoding="utf-8")
        partial.replace(place)

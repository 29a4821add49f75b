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
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fpbench.builtin.image_folder.files import Files, Listing, Unreadable
from fpbench.builtin.image_folder.findings import NAMED_IN_ERRORS, Kind
from fpbench.builtin.image_folder.pixels import DamagedImage, decode
from fpbench.builtin.published_sets.prepared import data_folder

_RULE = 2  # raised with every change of how pixels are made, or of what is kept
_KEPT_EVERY_S = 60.0  # for whoever is killed
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Content:
    """Of one image.

    Attributes:
        bytes: SHA-256 of its file.
        pixels: SHA-256 of the pixels that are used.
        done: what was done to it.
    """

    bytes: str
    pixels: str
    done: tuple[Kind, ...] = ()


@dataclass(frozen=True)
class Looked:
    """What a look at images found.

    Attributes:
        contents: name -> content of those that can be used.
        unusable: name -> why the others cannot: which kind, and more of it.
    """

    contents: dict[str, Content]
    unusable: dict[str, tuple[Kind, str]]


def look_at(files: Files, listing: Listing, size: int, progress: Progress | None = None) -> Looked:
    """Every image; those whose bytes were not seen here before are decoded.

    Whoever is interrupted goes on from there.

    Args:
        files: where they are.
        listing: which there are.
        size: of the squares.
        progress: is told how many of how many are looked at.
    """
    place = _place(files.path, size)
    known = _known(place)
    same = {content.bytes: content for _, content in known.values()}
    found = {
        name: known[name][1]
        for name, stamp in listing.images.items()
        if name in known and known[name][0] == stamp
    }
    new = [name for name in listing.images if name not in found]
    unusable: dict[str, tuple[Kind, str]] = {}

    lock = threading.Lock()

    def look(name: str) -> None:
        seen = _seen(files, name, size, same)
        with lock:
            if isinstance(seen, Content):
                found[name] = seen
            else:
                unusable[name] = seen

    def keep() -> None:
        with lock:
            seen = dict(found)
        _keep(place, listing, seen)

    pool = ThreadPoolExecutor(min(16, os.cpu_count() or 1))
    try:
        with _without_complaints():
            kept = time.monotonic()
            for done, _ in enumerate(pool.map(look, new), 1):
                if progress is not None:
                    progress(done, len(new))
                if time.monotonic() - kept > _KEPT_EVERY_S:
                    keep()
                    kept = time.monotonic()
    finally:
        pool.shutdown(cancel_futures=True)
        if new:
            keep()
    return Looked(found, unusable)


def _seen(
    files: Files, name: str, size: int, same: Mapping[str, Content]
) -> Content | tuple[Kind, str]:
    """An image's content, decoded unless its bytes are known; or why it has none."""
    try:
        data = files.read(name)
        digest = sha256(data)
        if digest in same:
            return same[digest]
        decoded = decode(data, size)
    except Unreadable as error:
        return error.kind, str(error)
    except DamagedImage as error:
        return Kind.BROKEN, str(error)
    return Content(digest, sha256(decoded.square.tobytes()), decoded.done)


@contextmanager
def _without_complaints() -> Iterator[None]:
    """What a decoder warns of is no damage, and names no file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def all_listed(path: Path, size: int, names: Collection[str]) -> str:
    """Of more names than an error tells: that they are in a file, a line each, as they are."""
    place = _place(path, size).with_suffix(".unusable.txt")
    if len(names) <= NAMED_IN_ERRORS:
        return ""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"".join(os.fsencode(name) + b"\n" for name in sorted(names)))
    except OSError:
        return ""
    return f". All names are in {place}"


def forget(path: Path, size: int) -> None:
    """Look at everything again the next time."""
    with contextlib.suppress(OSError):
        _place(path, size).unlink()


def sha256(data: bytes) -> str:
    """Digest of bytes."""
    return hashlib.sha256(data).hexdigest()


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
            name: ((length, time), Content(str(whole), str(pixels), _kinds(done)))
            for name, (length, time, whole, pixels, done) in data["images"].items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _kinds(names: Iterable[str]) -> tuple[Kind, ...]:
    return tuple(Kind[name] for name in names)


def _keep(place: Path, listing: Listing, found: Mapping[str, Content]) -> None:
    rows = {
        name: [*listing.images[name], c.bytes, c.pixels, [kind.name for kind in c.done]]
        for name, c in found.items()
    }
    partial = place.with_suffix(f".json-{os.getpid()}")
    # Where nothing can be written, everything is read again.
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"by": _made_by(), "images": rows}), encoding="utf-8")
        partial.replace(place)

"""What the sounds of a folder hold: read once, then known by path, size and time.

What is known lies in a file in the user's cache, one for each place, rate and length. Nothing
trusts it longer than until a sound is read: its bytes are compared then.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fpbench.builtin.audio_folder.decoding import UnfitSound, decode
from fpbench.builtin.audio_folder.findings import Kind, Said
from fpbench.builtin.audio_folder.listing import Listing
from fpbench.builtin.image_folder.files import Files, Unreadable
from fpbench.builtin.published_sets.prepared import data_folder

_RULE = 1  # raised with every change of how samples are made, or of what is kept
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Wanted:
    """What sounds are made.

    Attributes:
        rate: hertz.
        length: samples.
    """

    rate: int
    length: int


@dataclass(frozen=True)
class Content:
    """Of one sound.

    Attributes:
        bytes: SHA-256 of its file.
        samples: SHA-256 of what is used of it.
        done: what was done to it.
    """

    bytes: str
    samples: str
    done: tuple[Kind, ...] = ()


@dataclass(frozen=True)
class Looked:
    """What a look at sounds found.

    Attributes:
        contents: name -> content of those that can be used.
        unusable: name -> why the others cannot: which kind, and more of it.
    """

    contents: dict[str, Content]
    unusable: dict[str, tuple[Said, str]]


def look_at(
    files: Files, listing: Listing, wanted: Wanted, progress: Progress | None = None
) -> Looked:
    """Every sound; those that were not seen here before are decoded.

    Args:
        files: where they are.
        listing: which there are.
        wanted: what they are made.
        progress: is told how many of how many are looked at.
    """
    place = _place(files.path, wanted)
    known = _known(place)
    found = {
        name: known[name][1]
        for name, stamp in listing.sounds.items()
        if name in known and known[name][0] == stamp
    }
    new = [name for name in listing.sounds if name not in found]
    unusable: dict[str, tuple[Said, str]] = {}
    lock = threading.Lock()

    def look(name: str) -> None:
        seen = _seen(files, name, wanted)
        with lock:
            if isinstance(seen, Content):
                found[name] = seen
            else:
                unusable[name] = seen

    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for done, _ in enumerate(pool.map(look, new), 1):
            if progress is not None:
                progress(done, len(new))
    finally:
        # Whoever is interrupted goes on from there.
        pool.shutdown(cancel_futures=True)
        if new:
            _keep(place, listing, found)
    return Looked(found, unusable)


def _seen(files: Files, name: str, wanted: Wanted) -> Content | tuple[Said, str]:
    """A sound's content, or why it has none."""
    try:
        data = files.read(name)
        decoded = decode(data, wanted.rate, wanted.length)
    except (Unreadable, UnfitSound) as error:
        return error.kind, str(error)
    return Content(sha256(data), sha256(decoded.samples.tobytes()), decoded.done)


def forget(path: Path, wanted: Wanted) -> None:
    """Look at everything again the next time."""
    with contextlib.suppress(OSError):
        _place(path, wanted).unlink()


def sha256(data: bytes) -> str:
    """Digest of bytes."""
    return hashlib.sha256(data).hexdigest()


def _place(path: Path, wanted: Wanted) -> Path:
    where = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:24]
    return data_folder() / "audio-folder" / f"{where}-{wanted.rate}-{wanted.length}.json"


def _known(place: Path) -> Mapping[str, tuple[tuple[int, int], Content]]:
    try:
        data = json.loads(place.read_text(encoding="utf-8"))
        if data["rule"] != _RULE:
            return {}
        return {
            name: ((size, time), Content(str(whole), str(used), _kinds(done)))
            for name, (size, time, whole, used, done) in data["sounds"].items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _kinds(names: Iterable[str]) -> tuple[Kind, ...]:
    return tuple(Kind[name] for name in names)


def _keep(place: Path, listing: Listing, found: Mapping[str, Content]) -> None:
    rows = {
        name: [*listing.sounds[name], c.bytes, c.samples, [kind.name for kind in c.done]]
        for name, c in found.items()
    }
    partial = place.with_suffix(f".json-{os.getpid()}")
    # Where nothing can be written, everything is read again.
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"rule": _RULE, "sounds": rows}), encoding="utf-8")
        partial.replace(place)

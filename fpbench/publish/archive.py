"""Opens a bundle from somebody else: every name, size and digest is checked before it is used."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fpbench.api import StoreError
from fpbench.publish.manifest import (
    MANIFEST,
    FileFacts,
    Manifest,
    check_listed,
    check_names,
    read_manifest,
)
from fpbench.store.objects import disk_errors

RECORDS = "records.jsonl"
MOST_BYTES = 8 * 2**30
"""Of all files of a bundle together."""
_MOST_RECORDS = 2**30
_MOST_TEXT = 64 * 2**20
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PIECE = 2**20


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are what its manifest says.

    Attributes:
        folder: that holds its files; laid out like the folder of a run.
        manifest: what it says of itself.
    """

    folder: Path
    manifest: Manifest


@contextmanager
def open_bundle(path: Path, most_bytes: int = MOST_BYTES) -> Iterator[Bundle]:
    """A bundle, from its zip file (unpacked into a temporary folder) or from its folder.

    Raises:
        StoreError: it is damaged, was edited, is too large, or tries to lead out of its folder.
    """
    if path.is_dir():
        yield _from_folder(path, most_bytes)
        return
    with tempfile.TemporaryDirectory(prefix="fpbench-bundle-") as place:
        yield _from_zip(path, Path(place), most_bytes)


# -- a zip file --------------------------------------------------------------------------------


def _from_zip(path: Path, target: Path, most_bytes: int) -> Bundle:
    try:
        with zipfile.ZipFile(path) as archive:
            return _unpacked(archive, target, most_bytes)
    except FileNotFoundError:
        raise _wrong(path, "a bundle", "no such file; name the one that was exported") from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        raise _wrong(path, "a zip file without damage", f"{error}; fetch it again") from None


def _unpacked(archive: zipfile.ZipFile, target: Path, most_bytes: int) -> Bundle:
    entries = archive.infolist()
    # The library cuts names at a zero byte; what was written into the file counts.
    check_names([entry.orig_filename for entry in entries])
    for entry in entries:
        _check_entry(entry)
    _check_sizes({entry.filename: entry.file_size for entry in entries}, most_bytes)
    by_name = {entry.filename: entry for entry in entries}
    if MANIFEST not in by_name:
        raise _wrong(archive.filename, f"a file {MANIFEST}", "none; it is no bundle")
    manifest = read_manifest(archive.read(MANIFEST))
    check_listed(set(by_name), manifest)
    for name, facts in manifest.files.items():
        if by_name[name].file_size != facts.bytes:
            raise _changed(name, facts, f"{by_name[name].file_size} bytes")
    for name, facts in manifest.files.items():
        place = target / name
        with disk_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(by_name[name]) as source, place.open("wb") as copy:
                _check_content(name, facts, source, copy)
    (target / MANIFEST).write_bytes(archive.read(MANIFEST))
    return Bundle(target, manifest)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _wrong(entry.filename, "a plain file", "a link, a folder or a device")
    if entry.flag_bits & 1:
        raise _wrong(entry.filename, "a file that can be read", "an encrypted one")
    if entry.compress_type not in _PACKED:
        got = f"method {entry.compress_type} of compression; pack it again"
        raise _wrong(entry.filename, "a stored or deflated file", got)


# -- a folder ----------------------------------------------------------------------------------


def _from_folder(path: Path, most_bytes: int) -> Bundle:
    files: dict[str, Path] = {}
    for place, folders, names in os.walk(path, followlinks=False):
        for name in [*folders, *names]:
            file = Path(place) / name
            mode = file.lstat().st_mode
            if stat.S_ISREG(mode):
                files[file.relative_to(path).as_posix()] = file
            elif not stat.S_ISDIR(mode):
                raise _wrong(file, "a plain file", "a link or a device")
    check_names(sorted(files))
    _check_sizes({name: file.stat().st_size for name, file in files.items()}, most_bytes)
    if MANIFEST not in files:
        raise _wrong(path, f"a file {MANIFEST}", "none; it is no bundle")
    manifest = read_manifest(files[MANIFEST].read_bytes())
    check_listed(set(files), manifest)
    for name, facts in manifest.files.items():
        with files[name].open("rb") as source:
            _check_content(name, facts, source, None)
    return Bundle(path, manifest)


# -- both --------------------------------------------------------------------------------------


def _check_content(name: str, facts: FileFacts, source: IO[bytes], copy: IO[bytes] | None) -> None:
    """Read a file to its end, never further than it may go, and compare its digest."""
    total, seen = hashlib.sha256(), 0
    while piece := source.read(_PIECE):
        seen += len(piece)
        if seen > facts.bytes:
            raise _changed(name, facts, "more")
        total.update(piece)
        if copy is not None:
            copy.write(piece)
    if seen != facts.bytes or total.hexdigest() != facts.sha256:
        raise _changed(name, facts, f"{seen} bytes with SHA-256 {total.hexdigest()[:16]}…")


def _check_sizes(sizes: Mapping[str, int], most_bytes: int) -> None:
    for name, own in sizes.items():
        most = _most_of(name)
        if own > most:
            got = f"{own:,}; nothing was unpacked. Ask its maker for a smaller one"
            raise _wrong(name, f"at most {most:,} bytes", got)
    size = sum(sizes.values())
    if size > most_bytes:
        raise StoreError(
            f"bundle: expected at most {most_bytes:,} bytes in all, got {size:,}; nothing was "
            "unpacked. Ask its maker for a bundle with --no-readings"
        )


def _most_of(name: str) -> int:
    """Bytes that a file may have: texts are read as a whole, records line by line."""
    if name == RECORDS:
        return _MOST_RECORDS
    return _MOST_TEXT if name.endswith((".json", ".toml")) else MOST_BYTES


def _changed(name: str, facts: FileFacts, got: str) -> StoreError:
    return StoreError(
        f"bundle: {name}: expected {facts.bytes} bytes with SHA-256 {facts.sha256[:16]}…, got "
        f"{got}; the file was changed or damaged. Fetch the bundle again, or export it again",
        path=name,
    )


def _wrong(place: object, expected: str, got: str) -> StoreError:
    return StoreError(f"bundle: {place}: expected {expected}, got {got}", path=str(place))

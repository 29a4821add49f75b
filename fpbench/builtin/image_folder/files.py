"""The files of a folder or a zip archive: which of them are images, and their bytes."""

from __future__ import annotations

import contextlib
import lzma
import os
import threading
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fpbench.api import MissingResource
from fpbench.builtin.image_folder.findings import Finding, Kind, grouped, shown

READ = {
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".jpx", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp"),
}
_UNREAD = {
    *(".ai", ".arw", ".cr2", ".cr3", ".djvu", ".dng", ".eps", ".exr", ".hdr", ".heic", ".heif"),
    *(".icns", ".ico", ".jxl", ".jxr", ".nef", ".orf", ".pdf", ".psd", ".raf", ".raw", ".rw2"),
    *(".svg", ".xcf"),
}
_ARCHIVES = {
    *(".7z", ".arrow", ".bz2", ".gz", ".h5", ".hdf5", ".mdb", ".npy", ".npz", ".parquet", ".rar"),
    *(".tar", ".tfrecord", ".tfrecords", ".tgz", ".xz", ".zip", ".zst"),
}
_HIDDEN = {
    *("#recycle", "$recycle.bin", "@eadir", "__macosx", "desktop.ini", "lost+found", "thumbs.db"),
}
_THUMBNAILS = {"thumb", "thumbnail", "thumbnails", "thumbs"}
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_OTHER = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 99: "AES"}
_MAX_BYTES = 2**30  # of one file, unpacked
_UTF8, _ENCRYPTED, _PATCHED, _STRONG = 0x800, 0x1, 0x20, 0x40  # bits of a zip file's header


class Unreadable(Exception):
    """The bytes of a file cannot be had; says of which kind it is, and why."""

    def __init__(self, kind: Kind, why: str) -> None:
        super().__init__(why)
        self.kind = kind


@dataclass(frozen=True)
class Entry:
    """A file, or what stands where one was expected.

    Attributes:
        name: path below the folder, with `/`.
        stamp: what tells that the file was not written since: its size and time.
        kind: why it is no file to read, as far as a look at it without reading tells.
        why: more of that.
    """

    name: str
    stamp: tuple[int, int] = (0, 0)
    kind: Kind | None = None
    why: str = ""


@dataclass(frozen=True)
class Listing:
    """What there is.

    Attributes:
        images: name -> size and time.
        unusable: images that need not be read to know that they cannot be used: name -> which
            kind they are of, and more of it.
        findings: what was left out or is a link, a kind each.
    """

    images: dict[str, tuple[int, int]]
    unusable: dict[str, tuple[Kind, str]]
    findings: tuple[Finding, ...]


class Files(ABC):
    """A folder or an archive, listed anew on every call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def entries(self) -> Iterator[Entry]:
        """Every file, hidden ones too, and links that lead to none.

        Raises:
            MissingResource: a folder cannot be listed.
        """

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            Unreadable: they cannot be had.
        """

    def listing(self) -> Listing:
        """The images.

        Raises:
            MissingResource: there are none, or they cannot be listed.
        """
        return sorted_out(self.path, self.entries())


def sorted_out(path: Path, entries: Iterator[Entry]) -> Listing:
    """Which entries are images, and what is to be said of the others.

    Raises:
        MissingResource: none is.
    """
    images: dict[str, tuple[int, int]] = {}
    unusable: dict[str, tuple[Kind, str]] = {}
    said: dict[str, tuple[Kind, str]] = {}
    for entry in entries:
        name = entry.name
        if hidden := _left_out(name):
            # Of what is hidden only folders and images would be missed.
            if hidden[1].endswith("/") or _suffix(name) in READ:
                said[hidden[1]] = hidden[0], ""
        elif kind := entry.kind if entry.kind in _LINKS else _not_read(name):
            said[name] = kind, ""
        elif entry.kind is not None:
            unusable[name] = entry.kind, entry.why
        else:
            images[name] = entry.stamp
            if name != shown(name):
                said[name] = Kind.RENAMED, ""
    listing = Listing(images, unusable, grouped(said))
    if not images and not unusable:
        found = "; ".join(f.said() for f in listing.findings) or "no file at all"
        raise MissingResource(
            f"dataset image-folder: expected images ({', '.join(sorted(READ))}) in {shown(path)}, "
            f"got none: {found}; set [dataset] path to where they are, or convert them"
        )
    return listing


class Folder(Files):
    """A folder and all below it; a folder that is linked to is read once."""

    def entries(self) -> Iterator[Entry]:
        """Real folders first: a link to one of them adds nothing, and a loop ends."""
        seen: set[tuple[int, int]] = set()
        waiting, links = [""], list[str]()
        while waiting or links:
            linked = not waiting
            below = links.pop(0) if linked else waiting.pop()
            stat = (self.path / below).stat()
            if (stat.st_dev, stat.st_ino) in seen:
                yield Entry(below, kind=Kind.AGAIN)
                continue
            if linked:
                yield Entry(below, kind=Kind.LINKED)
            seen.add((stat.st_dev, stat.st_ino))
            for entry in self._scan(below):
                name = f"{below}/{entry.name}" if below else entry.name
                try:
                    file = entry.stat()
                except OSError:  # nothing, itself again, or what may not be looked at
                    yield Entry(name, kind=Kind.DANGLING)
                    continue
                if entry.is_file():
                    kind = Kind.HUGE if file.st_size > _MAX_BYTES else None
                    yield Entry(name, (file.st_size, file.st_mtime_ns), kind)
                elif entry.is_dir() and _left_out(f"{name}/"):
                    yield Entry(f"{name}/")
                elif entry.is_dir():
                    (links if entry.is_symlink() else waiting).append(name)

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise Unreadable(Kind.UNREADABLE, error.strerror or str(error)) from None

    def _scan(self, below: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.path / below) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise MissingResource(
                f"dataset image-folder: expected to read the folder {shown(self.path / below)}, "
                f"got {error.strerror}; make it readable or remove it"
            ) from None


class Archive(Files):
    """A zip file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock = threading.Lock()
        try:
            self._stamp = path.stat()
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise MissingResource(
                f"dataset image-folder: expected a folder or a zip file, got {shown(path)} "
                f"({error}); copy it again if it is a zip file, else unpack it, and set [dataset] "
                "path to the folder"
            ) from None
        # Of two files of one name the last counts.
        self._infos = {_named(info): info for info in self._zip.infolist()}

    def entries(self) -> Iterator[Entry]:
        """Every file; the stamp is that of the archive."""
        stamp = self._stamp.st_size, self._stamp.st_mtime_ns
        for info in self._zip.infolist():
            name = _named(info)
            if name.endswith("/"):
                continue
            if self._infos[name] is info:
                yield Entry(name, stamp, *_trouble(info))
            else:
                yield Entry(name, kind=Kind.OVERWRITTEN)

    def read(self, name: str) -> bytes:
        """The bytes of a file, whose checksum is right."""
        try:
            with self._lock:  # one file handle, several readers
                return self._zip.read(self._infos[name])
        except NotImplementedError as error:
            raise Unreadable(Kind.PACKED, str(error)) from None
        except _TORN as error:
            raise Unreadable(Kind.TORN, str(error) or type(error).__name__) from None


_LINKS = (Kind.LINKED, Kind.AGAIN, Kind.DANGLING, Kind.OVERWRITTEN)
_TORN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError),
    *(LookupError, MemoryError, RuntimeError),
)


def _trouble(info: zipfile.ZipInfo) -> tuple[Kind | None, str]:
    """What of an archived file's header says that it cannot be read here."""
    if info.flag_bits & (_ENCRYPTED | _STRONG):
        return Kind.LOCKED, ""
    if info.flag_bits & _PATCHED:
        return Kind.PACKED, "as a patch"
    if info.compress_type not in _METHODS:
        return Kind.PACKED, _OTHER.get(info.compress_type, f"method {info.compress_type}")
    if info.file_size > _MAX_BYTES:
        return Kind.HUGE, f"{info.file_size:,} bytes"
    return None, ""


def _named(info: zipfile.ZipInfo) -> str:
    """The name in an archive. Some programs write the separators of Windows."""
    name = info.filename
    if not info.flag_bits & _UTF8 and not name.isascii():
        # Others write UTF-8 and do not say so. What is neither keeps its bytes, as in a folder.
        with contextlib.suppress(UnicodeEncodeError):  # the name is from a field of its own
            name = name.encode("cp437").decode("utf-8", "surrogateescape")
    return name.replace("\\", "/")


def open_files(path: Path) -> Files:
    """A folder or an archive.

    Raises:
        MissingResource: it is neither.
    """
    if not path.exists():
        raise MissingResource(
            f"dataset image-folder: expected a folder or zip at {shown(path)}, got nothing; "
            "set [dataset] path"
        )
    return Folder(path) if path.is_dir() else Archive(path)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a tenth of the time of a path's


def _left_out(name: str) -> tuple[Kind, str] | None:
    """Of what is hidden or a thumbnail: which it is, and the outermost path that makes it so."""
    parts = name.split("/")
    for depth, part in enumerate(map(str.casefold, parts), 1):
        hidden = part in _HIDDEN or (part.startswith(".") and part not in {".", ".."})
        if hidden or (part in _THUMBNAILS and depth < len(parts)):
            kind = Kind.HIDDEN if hidden else Kind.THUMBNAILS
            return kind, "/".join(parts[:depth]) + ("/" if depth < len(parts) else "")
    return None


def _not_read(name: str) -> Kind | None:
    """Which kind of file it is that is not read; None for an image."""
    suffix = _suffix(name)
    if suffix in READ:
        return None
    if suffix in _UNREAD:
        return Kind.FOREIGN
    return Kind.NESTED if suffix in _ARCHIVES else Kind.OTHER

"""The files of a folder or a zip archive: which of them are images, and their bytes."""

from __future__ import annotations

import os
import threading
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fpbench.api import MissingResource

READ = {
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".jpx", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp"),
}
_HIDDEN = {"#recycle", "$recycle.bin", "@eadir", "__macosx", "desktop.ini", "thumbs.db"}
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_OTHER = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 99: "AES"}
_MAX_BYTES = 2**30  # of one file in an archive, unpacked


@dataclass(frozen=True)
class Listing:
    """What there is.

    Attributes:
        images: name -> what tells that the file was not written since: its size and time.
        remarks: what was left out, a sentence each.
    """

    images: dict[str, tuple[int, int]]
    remarks: tuple[str, ...]


class Files(ABC):
    """A folder or an archive, listed anew on every call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def names(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Every file, hidden ones too."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            MissingResource: it cannot be read.
        """

    def remarks(self) -> Iterator[str]:
        """What `names` left out."""
        return iter(())

    def listing(self) -> Listing:
        """The images.

        Raises:
            MissingResource: there are none, or they cannot be listed.
        """
        images, others, hidden = {}, Counter[str](), 0
        for name, stamp in self.names():
            path = PurePosixPath(name)
            if any(_is_hidden(part) for part in path.parts):
                hidden += path.suffix.lower() in READ
            elif path.suffix.lower() in READ:
                images[name] = stamp
            else:
                others[path.suffix.lower() or "no suffix"] += 1
        if not images:
            raise MissingResource(
                f"dataset image-folder: expected images ({', '.join(sorted(READ))}) in "
                f"{shown(self.path)}, got none among {others.total():,} files{_kinds(others)}; "
                "set [dataset] path to where they are, or convert them"
            )
        return Listing(images, tuple(self._said(others, hidden)))

    def _said(self, others: Counter[str], hidden: int) -> Iterator[str]:
        if others:
            yield (
                f"{others.total():,} files are of kinds that are not read{_kinds(others)}; "
                "convert those that are images"
            )
        if hidden:
            yield f"{hidden:,} images were left out, hidden or in hidden folders"
        yield from self.remarks()


class Folder(Files):
    """A folder and all below it; a folder that is linked to is read once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._again = 0
        self._broken = 0

    def names(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Real folders first: a link to one of them adds nothing, and a loop ends."""
        self._again = self._broken = 0
        seen: set[tuple[int, int]] = set()
        waiting, links = [self.path], list[Path]()
        while waiting or links:
            folder = waiting.pop() if waiting else links.pop(0)
            stat = folder.stat()
            if (stat.st_dev, stat.st_ino) in seen:
                self._again += 1
                continue
            seen.add((stat.st_dev, stat.st_ino))
            for entry in self._scan(folder):
                path = folder / entry.name
                if entry.is_dir():
                    if not _is_hidden(entry.name):
                        (links if entry.is_symlink() else waiting).append(path)
                elif entry.is_file():
                    file = entry.stat()
                    name = path.relative_to(self.path).as_posix()
                    yield name, (file.st_size, file.st_mtime_ns)
                elif path.suffix.lower() in READ:
                    self._broken += 1

    def remarks(self) -> Iterator[str]:
        """Links that lead nowhere new."""
        if self._again:
            yield f"{self._again:,} links to folders that are read already were not followed"
        if self._broken:
            yield f"{self._broken:,} images are links to nothing, and were left out"

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise MissingResource(
                f"dataset image-folder: expected to read {shown(self.path / name)}, got "
                f"{error.strerror}; restore or remove the file"
            ) from None

    def _scan(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise MissingResource(
                f"dataset image-folder: expected to read the folder {shown(folder)}, got "
                f"{error.strerror}; make it readable or remove it"
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
                f"({error}); unpack it and set [dataset] path to the folder"
            ) from None
        # Some programs write the separators of Windows. Of two files of one name the last counts.
        self._infos = {i.filename.replace("\\", "/"): i for i in self._zip.infolist()}

    def names(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Every file; the stamp is that of the archive."""
        for name, info in self._infos.items():
            if name.endswith("/"):
                continue
            if info.flag_bits & 1:
                self._refuse(name, "files without a password", "an encrypted one")
            if info.compress_type not in _METHODS:
                method = _OTHER.get(info.compress_type, f"method {info.compress_type}")
                self._refuse(name, "files stored or deflated", f"one packed by {method}")
            if info.file_size > _MAX_BYTES:
                self._refuse(name, "files of at most 1 GiB", f"{info.file_size:,} bytes")
            yield name, (self._stamp.st_size, self._stamp.st_mtime_ns)

    def read(self, name: str) -> bytes:
        """The bytes of a file, whose checksum is right."""
        try:
            with self._lock:  # one file handle, several readers
                return self._zip.read(self._infos[name])
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
            raise MissingResource(
                f"dataset image-folder: expected a whole file, got a damaged one in "
                f"{shown(self.path)}: {shown(name)} ({shown(str(error))}); copy the archive again, "
                "or pack it without that file"
            ) from None

    def _refuse(self, name: str, expected: str, got: str) -> None:
        raise MissingResource(
            f"dataset image-folder: expected {expected} in {shown(self.path)}, got {got}: "
            f"{shown(name)}; unpack it and set [dataset] path to the folder"
        )


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


def shown(name: object) -> str:
    """A name as it can be printed: bytes that are no UTF-8 as escapes."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def _is_hidden(part: str) -> bool:
    return part.casefold() in _HIDDEN or (part.startswith(".") and part not in {".", ".."})


def _kinds(counts: Counter[str]) -> str:
    named = ", ".join(f"{kind} {number:,}" for kind, number in counts.most_common(5))
    return f" ({named}{', …' if len(counts) > 5 else ''})" if counts else ""

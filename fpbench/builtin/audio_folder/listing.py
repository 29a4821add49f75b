"""Which files of a folder or archive are sounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fpbench.api import MissingResource
from fpbench.builtin.audio_folder.findings import Findings, Kind, Said, grouped, remarks
from fpbench.builtin.image_folder.files import Files, open_files
from fpbench.builtin.image_folder.findings import Kind as FileKind
from fpbench.builtin.image_folder.findings import shown

READ = (".aif", ".aiff", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")
_LINKS = (FileKind.LINKED, FileKind.AGAIN, FileKind.DANGLING, FileKind.OVERWRITTEN)


@dataclass(frozen=True)
class Listing:
    """What there is.

    Attributes:
        sounds: name -> size and time.
        unusable: sounds that need not be read to know that they cannot be used.
        findings: what was left out or is a link.
    """

    sounds: dict[str, tuple[int, int]]
    unusable: dict[str, tuple[Said, str]]
    findings: Findings


@contextmanager
def as_audio_folder() -> Iterator[None]:
    """A block in which what reads files for `image-folder` says that it is this data set."""
    try:
        yield
    except MissingResource as error:
        text = str(error).replace("dataset image-folder", "dataset audio-folder", 1)
        raise MissingResource(text) from None


def opened(path: Path) -> Files:
    """A folder or an archive.

    Raises:
        MissingResource: it is neither.
    """
    with as_audio_folder():
        return open_files(path)


def listed(files: Files) -> Listing:
    """The sounds; hidden files and folders are left out unsaid.

    Raises:
        MissingResource: there are none, or they cannot be listed.
    """
    sounds: dict[str, tuple[int, int]] = {}
    unusable: dict[str, tuple[Said, str]] = {}
    said: dict[str, tuple[Said, str]] = {}
    with as_audio_folder():
        entries = list(files.entries())
    for entry in entries:
        if _hidden(entry.name):
            continue
        if entry.kind in _LINKS:
            said[entry.name] = entry.kind, ""
        elif PurePosixPath(entry.name).suffix.lower() not in READ:
            said[entry.name] = Kind.OTHER, ""
        elif entry.kind is not None:
            unusable[entry.name] = entry.kind, entry.why
        else:
            sounds[entry.name] = entry.stamp
    listing = Listing(sounds, unusable, grouped(said))
    if not sounds and not unusable:
        found = "; ".join(remarks(listing.findings)) or "no file at all"
        raise MissingResource(
            f"dataset audio-folder: expected sounds ({', '.join(READ)}) in {shown(files.path)}, "
            f"got none: {found}; set [dataset] path to where they are, or convert them"
        )
    return listing


def _hidden(name: str) -> bool:
    parts = name.casefold().split("/")
    return any(part.startswith(".") or part == "__macosx" for part in parts) or parts[-1] == ""

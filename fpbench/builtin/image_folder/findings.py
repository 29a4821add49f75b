"""What an inspection of a folder or archive found, made once and said in one way.

`prepare` prints all of it, a plan or run what is a remark, an error what cannot be used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from fpbench.builtin.image_folder.layout import Pool

_NAMED = 3  # files of one kind in a remark
NAMED_IN_ERRORS = 10
_KINDS = 6  # suffixes that are counted by name


class Kind(Enum):
    """What may be said of files: in words, and what to do about it."""

    # -- cannot be used -------------------------------------------------------------------------
    BROKEN = "damaged, no images, or too large", "mend, convert or remove them"
    UNREADABLE = "cannot be read", "make them readable, or remove them"
    TORN = "damaged in the archive", "copy the archive again, or pack it without them"
    LOCKED = "encrypted", "unpack the archive and set [dataset] path to the folder"
    PACKED = (
        "packed in a way that is not read",
        "unpack the archive and set [dataset] path to the folder",
    )
    HUGE = "of more than 1 GiB", "convert or remove them"
    # -- used otherwise than they lie -----------------------------------------------------------
    UPRIGHT = "turned upright, as EXIF says", ""
    DEEP = "of 16 bits, scaled to 8", ""
    CLEAR = "transparent, composited on black", ""
    MOVING = "animations, of which the first frame is used", ""
    ENLARGED = "smaller than the size that is used, enlarged", ""
    RENAMED = "with names that are no UTF-8, shown with escapes", ""
    # -- left out -------------------------------------------------------------------------------
    FOREIGN = "left out, images of kinds that are not read", "convert them to PNG or JPEG"
    NESTED = "left out, archives that are not looked into", "unpack them"
    OTHER = "left out, no images by their names", ""
    HIDDEN = "left out, hidden or in hidden folders", ""
    THUMBNAILS = "left out, in folders of thumbnails", ""
    SILENT = "left out, without a caption", ""
    OVERWRITTEN = "left out, a later file of the archive has the same name", ""
    EQUAL = "equal to others in the pixels that are used, counted once", ""
    ACROSS = "equal to images of another split, counted in that one alone", ""
    # -- links and folders ----------------------------------------------------------------------
    LINKED = "links to folders, followed", ""
    AGAIN = "links to folders that are read already, not followed", ""
    DANGLING = "links to nothing, left out", ""
    SERVES = "folders of validation images, taken for a split", ""

    @property
    def words(self) -> str:
        """What the files are."""
        return self.value[0]

    @property
    def cure(self) -> str:
        """What to do; empty where nothing need be done."""
        return self.value[1]


_COUNTED = (Kind.FOREIGN, Kind.NESTED, Kind.OTHER)


@dataclass(frozen=True)
class Finding:
    """Files of one kind.

    Attributes:
        kind: which.
        files: name -> what more there is to say of it, often nothing.
    """

    kind: Kind
    files: Mapping[str, str]

    def said(self, most: int = _NAMED) -> str:
        """Their number, the first names and what to do, in one line."""
        names = sorted(self.files)
        counted = f": {suffixes(names)}" if self.kind in _COUNTED else ""
        shorter = [_with(name, self.files[name]) for name in names[:most]]
        more = ", …" if len(names) > most else ""
        cure = f"; {self.kind.cure}" if self.kind.cure else ""
        return f"{self.kind.words} ({len(names):,}{counted}): {', '.join(shorter)}{more}{cure}"


@dataclass(frozen=True)
class Inspection:
    """Of a whole data set.

    Attributes:
        used: names of the images of all splits.
        spare: number of images that could be used too, and were not asked for.
        layout: how splits were found.
        findings: a kind each; those that are empty are not said.
    """

    used: Sequence[str]
    spare: int
    layout: str
    findings: tuple[Finding, ...]

    def remarks(self) -> tuple[str, ...]:
        """A line for each kind of file that is there, in the order of kinds."""
        order = list(Kind)
        there = sorted((f for f in self.findings if f.files), key=lambda f: order.index(f.kind))
        return tuple(finding.said() for finding in there)

    def lines(self) -> tuple[str, ...]:
        """What is used, and then the remarks."""
        used = len(self.used)
        whole = f"used: {used:,} of {used + self.spare:,} images ({suffixes(self.used)})"
        return (f"{whole}, {self.layout}", *self.remarks())


def grouped(files: Mapping[str, tuple[Kind, str]]) -> tuple[Finding, ...]:
    """A finding for each kind among files that are told by kind and reason."""
    return tuple(
        Finding(kind, {name: why for name, (other, why) in files.items() if other is kind})
        for kind in Kind
        if any(other is kind for other, _ in files.values())
    )


def refusal(findings: Iterable[Finding]) -> str:
    """The end of a sentence: files that cannot be used, all kinds of them at once."""
    return ". Also ".join(finding.said(NAMED_IN_ERRORS) for finding in findings)


def twins(firsts: Mapping[Pool, Mapping[str, str]]) -> tuple[Finding, ...]:
    """Images that equal another one, in the same pool and across pools.

    Args:
        firsts: by pool: name -> the image that counts for it, itself where it is the first.
    """
    within: dict[str, str] = {}
    across: dict[str, str] = {}
    for names in firsts.values():
        for name, first in names.items():
            if name != first:
                (within if first in names else across)[name] = f"= {first}"
    return Finding(Kind.EQUAL, within), Finding(Kind.ACROSS, across)


def suffixes(names: Iterable[str]) -> str:
    """How many files there are of each suffix, the commonest first."""
    counts = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in names)
    # Ties by name, so that it is the same text whatever lists the files.
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    named = ", ".join(f"{shown(kind)} {number:,}" for kind, number in ordered[:_KINDS])
    return f"{named}, …" if len(ordered) > _KINDS else named


def shown(name: object) -> str:
    """A name as it can be printed on one line: bytes that are no UTF-8 as escapes."""
    text = str(name).encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _with(name: str, detail: str) -> str:
    return f"{shown(name)} ({shown(detail)})" if detail else shown(name)

"""What may be said of the files of a folder of sounds, in words, all of it at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from fpbench.builtin.image_folder.findings import Kind as FileKind
from fpbench.builtin.image_folder.findings import shown, suffixes

_NAMED = 3  # files of one kind in a remark
_NAMED_IN_ERRORS = 10


class Kind(Enum):
    """What is said of files, and what to do about it; the first ones cannot be used."""

    BROKEN = "damaged, or no sounds", "mend, convert or remove them"
    LONG = "longer than ten minutes", "cut them into pieces"
    SHORT = "shorter than 20 ms", "remove them"
    SILENT = "silent where they are used", "cut them otherwise, or remove them"
    # -- used otherwise than they lie -----------------------------------------------------------
    MIXED = "of several channels, mixed down to one", ""
    DEEP = "of more than 16 bits, rounded to 16", ""
    SCALED = "with values over full scale, made softer until they fit", ""
    CLIPPED = "at full scale in more than one sample of a hundred, used as they are", ""
    RESAMPLED = "at another rate, resampled", ""
    CUT = "longer than what is used, cut to their middle", ""
    PADDED = "shorter than what is used, with silence added on both sides", ""
    # -- left out -------------------------------------------------------------------------------
    OTHER = "left out, no sounds by their names", ""
    EQUAL = "equal to others in what is used, counted once", ""
    ACROSS = "equal to sounds of another split, counted in that one alone", ""

    @property
    def words(self) -> str:
        """What the files are."""
        return self.value[0]

    @property
    def cure(self) -> str:
        """What to do; empty where nothing need be done."""
        return self.value[1]


Said = Kind | FileKind
"""Of sounds, or of files whatever they hold."""
Findings = Mapping[Said, Mapping[str, str]]
"""Kind -> name of a file -> what more there is to say of it, often nothing."""


def grouped(files: Mapping[str, tuple[Said, str]]) -> Findings:
    """Files that are told by kind and reason, by kind, in the order of kinds."""
    order: list[Said] = [*FileKind, *Kind]
    return {
        kind: {name: why for name, (other, why) in files.items() if other is kind}
        for kind in order
        if any(other is kind for other, _ in files.values())
    }


def remarks(findings: Findings) -> tuple[str, ...]:
    """A line for each kind of file that is there."""
    return tuple(_said(kind, files, _NAMED) for kind, files in findings.items() if files)


def refusal(findings: Findings) -> str:
    """The end of a sentence: files that cannot be used, all kinds of them at once."""
    return ". Also ".join(
        _said(kind, files, _NAMED_IN_ERRORS) for kind, files in findings.items() if files
    )


def twins(firsts: Iterable[Mapping[str, str]]) -> dict[str, tuple[Said, str]]:
    """Sounds that equal another one, in the same pool and across pools.

    Args:
        firsts: of each pool: name -> the sound that counts for it, itself where it is the first.
    """
    return {
        name: (Kind.EQUAL if first in names else Kind.ACROSS, f"= {first}")
        for names in firsts
        for name, first in names.items()
        if name != first
    }


def _said(kind: Said, files: Mapping[str, str], most: int) -> str:
    names = sorted(files)
    counted = f": {suffixes(names)}" if kind is Kind.OTHER else ""
    named = ", ".join(
        f"{shown(name)} ({shown(files[name])})" if files[name] else shown(name)
        for name in names[:most]
    )
    more = ", …" if len(names) > most else ""
    cure = f"; {kind.cure}" if kind.cure else ""
    return f"{kind.words} ({len(names):,}{counted}): {named}{more}{cure}"

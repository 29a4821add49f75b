"""The error tree: who failed, what was expected, what came, what to do next.

FpbenchError
├── SpecError          the suite file or a command-line selection is wrong (exit 2)
├── PluginError        a plugin cannot be loaded or registered (exit 6)
│   └── ContractError  a plugin returned something its contract forbids
├── StoreError         an artefact is damaged or cannot be written
│   └── NoSpace        the disk is full; earlier results are intact (exit 7)
└── StageError         a stage could not finish
    ├── OutOfMemory    it asked for more memory than there is
    ├── TrainingFailed a health gate stopped a training
    └── MissingResource a file or package the machine lacks; says how to get it (exit 7)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class FpbenchError(Exception):
    """Root of every error fpbench raises on purpose; its text is meant to be printed as it is."""


class SpecError(FpbenchError):
    """A suite or selection is wrong. Holds *every* mistake found, one per line.

    Attributes:
        problems: one sentence per mistake, each with its place in the file.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class PluginError(FpbenchError):
    """A plugin cannot be loaded or registered, or two offer the same name."""


class ContractError(PluginError):
    """A plugin broke its contract: wrong shape, dtype, range or a non-finite value."""


class StoreError(FpbenchError):
    """An artefact is damaged, or could not be written.

    Attributes:
        key: stage key of the artefact, empty if none is concerned.
        path: where it lies.
    """

    def __init__(self, message: str, key: str = "", path: str = "") -> None:
        self.key = key
        self.path = path
        super().__init__(message)


class NoSpace(StoreError):
    """The disk is full; earlier results are intact."""


class StageError(FpbenchError):
    """A stage could not finish."""


class TrainingFailed(StageError):
    """A health gate stopped a training, e.g. at a non-finite loss."""


class OutOfMemory(StageError):
    """A stage did not fit into the memory of its device, nor in parts."""


class MissingResource(StageError):
    """A file, package or weight that this machine lacks; the message says how to get it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """End of a sentence about an unknown name: the one that is meant, or all that there are."""
    listed = list(known)
    near = difflib.get_close_matches(name, listed, n=1, cutoff=0.5)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; there are {', '.join(listed)}" if listed else ""

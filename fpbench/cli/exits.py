"""Exit codes, the same for every command."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpbench.api import FpbenchError

GOOD = 0
"""Everything asked for is there."""
VERIFICATION_FAILED = 1
"""A check failed, e.g. a damaged artefact."""
USAGE = 2
"""The command line or the suite is wrong; nothing was run."""
INTERNAL = 3
"""A fault of fpbench itself."""
CELLS_FAILED = 4
"""The run ended, but some cells failed or were not available."""
NOTHING_MEASURED = 5
"""No cell has a number."""
PLUGIN = 6
"""A plugin cannot be loaded or breaks its contract."""
ENVIRONMENT = 7
"""The machine lacks something: disk, data, device."""
INTERRUPTED = 130
"""Stopped by the user; the same command goes on."""


def exit_code(error: FpbenchError) -> int:
    """The exit code of an error that ended a command."""
    from fpbench.api import MissingResource, NoSpace, PluginError, SpecError

    if isinstance(error, SpecError):
        return USAGE
    if isinstance(error, PluginError):
        return PLUGIN
    if isinstance(error, MissingResource | NoSpace):
        return ENVIRONMENT
    return VERIFICATION_FAILED

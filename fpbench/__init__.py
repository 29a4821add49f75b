"""fpbench: a benchmark for fingerprints of generative models.

From Python it is opened by `run`, `open_run`, `load` and `load_copy`; `help` of each says how.
What they stand on is loaded when they are asked for: importing this loads neither torch nor pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpbench.python.copies import Copy, load_copy
    from fpbench.python.loading import load
    from fpbench.python.methods import TrainedMethod
    from fpbench.python.running import run
    from fpbench.python.runs import Run, open_run

__all__ = ["Copy", "Run", "TrainedMethod", "load", "load_copy", "open_run", "run"]

_HOMES = {
    "Copy": "copies",
    "Run": "runs",
    "TrainedMethod": "methods",
    "load": "loading",
    "load_copy": "copies",
    "open_run": "runs",
    "run": "running",
}

if not TYPE_CHECKING:  # which would take any name for one of ours

    def __getattr__(name: str) -> object:
        """What `__all__` names, loaded when it is first asked for."""
        if name not in _HOMES:
            raise AttributeError(f"module 'fpbench' has no attribute '{name}'")
        found = getattr(import_module(f"fpbench.python.{_HOMES[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

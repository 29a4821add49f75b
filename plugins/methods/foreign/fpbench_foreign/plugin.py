"""The method `foreign`: registration and card."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fpbench.api import Card, Method, hookimpl
from fpbench.nn.programs import ProgramMethod
from fpbench_foreign.params import ForeignParams

if TYPE_CHECKING:
    from fpbench.nn.foreign import Program


class Foreign(ProgramMethod[ForeignParams]):
    """A program with an environment of its own marks finished images and reads them."""

    name = "foreign"
    version = "1"
    Params = ForeignParams
    card = Card(
        "Foreign program",
        "given by the user",
        "that of the program",
        "A program with an environment of its own marks finished images and reads them. Nobody can "
        "change its weights here, so that attacks on weights are refused; whoever holds the model "
        "can leave the program out.",
        "That of the program; it is not trained here.",
    )

    def program(self, before: Callable[[], None]) -> Program:
        """See `ProgramMethod.program`."""
        from fpbench.nn.foreign import Program

        p = self.params
        return Program(f"method {self.name}", p.command, p.folder, p.timeout_s, before)


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The method."""
    return [Foreign]

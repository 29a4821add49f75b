"""Changes to how a copy is run."""

from __future__ import annotations

from typing import Any

from fpbench.api import (
    Access,
    Attack,
    Card,
    Context,
    Generator,
    Params,
    PipelineAttack,
    Surface,
    hookimpl,
)

_POST = "post"


class NoParams(Params):
    """An attack without parameters."""


class Bypass(PipelineAttack[NoParams]):
    """Run the copy without its post-hoc step; a copy that has none is run as it is."""

    name = "bypass"
    version = "1"
    Params = NoParams
    family = "bypass"
    access = frozenset({Access.COPY})
    card = Card(
        "Bypass",
        "the failure of post-hoc marks that in-model fingerprints answer",
        "Apache-2.0",
        "Drops the step that marks finished images. In-model methods have no such step, so their "
        "result is the untouched one.",
    )

    def apply(self, surface: Surface, ctx: Context) -> Generator:
        """The copy without the step called "post"."""
        del ctx
        copy = surface.copy
        return copy.replace(_POST, None) if _POST in copy.steps else copy


@hookimpl
def fpbench_attacks() -> list[type[Attack[Any]]]:
    """Pipeline attacks."""
    return [Bypass]

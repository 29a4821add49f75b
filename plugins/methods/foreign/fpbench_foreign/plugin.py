"""The method `foreign`: registration and card."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Card,
    Context,
    Evidence,
    Method,
    SampleStream,
    State,
    TrainedHost,
    hookimpl,
)
from fpbench.nn.files import OpaqueMethod
from fpbench_foreign.params import ForeignParams

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from fpbench.nn.foreign import Program


class Foreign(OpaqueMethod[ForeignParams]):
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

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """See `OpaqueMethod.fit`; one image is marked and read, so that faults show at once."""
        import torch

        from fpbench.api.images import to_float, to_uint8

        state = super().fit(host, images, ctx)
        one = images.read([0])
        code = torch.zeros(1, self.bits, dtype=torch.bool, device=one.device)
        marked = self.embedder(state, ctx)(to_float(one), code)
        self._read(state, to_uint8(marked), ctx)
        return state

    def embedder(self, state: State, ctx: Context) -> Module:
        """See `PostHocMethod.embedder`."""
        from fpbench_foreign.networks import Embedder

        return Embedder(self._program(state, ctx))

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """What the program reads."""
        del host
        return self._read(state, evidence.samples, ctx)

    def _read(self, state: State, images: Tensor, ctx: Context) -> Tensor:
        from fpbench_foreign.networks import read

        return read(self._program(state, ctx), images, self.bits)

    def _program(self, state: State, ctx: Context) -> Program:
        from fpbench.nn.foreign import Program

        def make() -> Program:
            p = self.params
            check = partial(self.check_files, state)
            return Program(f"method {self.name}", p.command, p.folder, p.timeout_s, check)

        return self.opened("program", state, ctx, make)


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The method."""
    return [Foreign]

"""Methods whose images are marked and read by a program in another process. No torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from fpbench.api import Context, Evidence, Params, SampleStream, State, TrainedHost
from fpbench.nn.files import OpaqueMethod

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from fpbench.nn.foreign import Program

__all__ = ["ProgramMethod"]

P = TypeVar("P", bound=Params)


class ProgramMethod(OpaqueMethod[P]):
    """A post-hoc method that is a program: started once a process, asked for every image."""

    @abstractmethod
    def program(self, before: Callable[[], None]) -> Program:
        """The program, not yet started; `before` is called before each start."""

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
        from fpbench.nn.marking import Embedder

        return Embedder(self._program(state, ctx))

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """What the program reads."""
        del host
        return self._read(state, evidence.samples, ctx)

    def _read(self, state: State, images: Tensor, ctx: Context) -> Tensor:
        from fpbench.nn.marking import read

        return read(self._program(state, ctx), images, self.bits)

    def _program(self, state: State, ctx: Context) -> Program:
        check = partial(self.check_files, state)
        return self.opened("program", state, ctx, lambda: self.program(check))

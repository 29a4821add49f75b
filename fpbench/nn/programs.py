"""Methods whose samples are marked and read by a program in another process. No torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from fpbench.api import Context, Evidence, Gives, Params, SampleStream, State, TrainedHost
from fpbench.nn.files import OpaqueMethod

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from fpbench.nn.foreign import Program

__all__ = ["ProgramMethod"]

P = TypeVar("P", bound=Params)


class ProgramMethod(OpaqueMethod[P]):
    """A post-hoc method that is a program: started once a process, asked for every sample.

    A mark without bits, which gives a presence, is asked for with an empty code, and read as one
    number a sample.
    """

    @abstractmethod
    def program(self, before: Callable[[], None]) -> Program:
        """The program, not yet started; `before` is called before each start."""

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """See `OpaqueMethod.fit`; one sample is marked and read, so that faults show at once."""
        import torch

        state = super().fit(host, images, ctx)
        one = images.read([0])
        code = torch.zeros(1, self.bits, dtype=torch.bool, device=one.device)
        marked = self.embedder(state, ctx)(ctx.modality.to_float(one), code)
        self._read(state, ctx.modality.to_file(marked), ctx)
        return state

    def embedder(self, state: State, ctx: Context) -> Module:
        """See `PostHocMethod.embedder`."""
        from fpbench.nn.marking import Embedder

        return Embedder(self._program(state, ctx), ctx.modality, self._rate(ctx))

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """What the program reads."""
        del host
        return self._read(state, evidence.samples, ctx)

    def _read(self, state: State, samples: Tensor, ctx: Context) -> Tensor:
        from fpbench.nn.marking import read

        program, rate = self._program(state, ctx), self._rate(ctx)
        if self.gives is Gives.PRESENCE:
            return read(program, samples, 1, rate)[:, 0]
        return read(program, samples, self.bits, rate)

    def _rate(self, ctx: Context) -> int | None:
        """Samples of a sound in a second; programs that mark images alone are not told of it."""
        return None if self.modalities == {"image"} else ctx.info.rate

    def _program(self, state: State, ctx: Context) -> Program:
        check = partial(self.check_files, state)
        return self.opened("program", state, ctx, lambda: self.program(check))

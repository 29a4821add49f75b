"""Who reads: one thread that has the registry open, one request after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fpbench.python.tracing import File, Readers, check_model, check_sizes, traced
from fpbench.serve.refusing import Refused
from fpbench.users import Inquiry, Registry

if TYPE_CHECKING:
    from fpbench.python.methods import TrainedMethod
    from fpbench.users import Report

_MOST_WAITING = 8


class Desk:
    """A trained method and the registry of its users.

    Neither images nor readings are kept.

    Attributes:
        modality: of what is read.

    Args:
        trained: who reads.
        model: what the registry calls it.
        place: of the registry.
        false_rate: α, per reading.

    Raises:
        SpecError: there is no such registry or model, or its codes are of another training.
        StoreError: the registry is damaged, or others may read it.
    """

    def __init__(self, trained: TrainedMethod, model: str, place: str, false_rate: float) -> None:
        self._readers, self._model, self._false_rate = Readers(trained), model, false_rate
        self.modality = trained.info.modality
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, "desk")  # a connection belongs to its thread
        try:
            self._registry = self._thread.submit(Registry.open, place).result()
        except BaseException:
            self._thread.shutdown()
            raise
        try:
            self._thread.submit(check_model, self._registry, model, trained).result()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the registry behind what is being read."""
        self._thread.submit(self._registry.close).result()
        self._thread.shutdown()

    async def trace(self, files: Sequence[tuple[str, bytes]], *, pool: bool) -> Report:
        """Whom images lead to, as `fpbench trace` says it.

        Args:
            files: name and bytes of each.
            pool: whether they are of one source.

        Raises:
            UnfitImage: one cannot be read.
            Refused: too many requests wait already.
        """
        if self._waiting >= _MOST_WAITING:
            raise Refused(503, "too many requests wait; try again", "busy", wait_s=5)
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._thread.submit(self._trace, files, pool))
        finally:
            self._waiting -= 1

    def _trace(self, files: Sequence[tuple[str, bytes]], pool: bool) -> Report:
        inquiry = Inquiry(self._registry, self._model, self._false_rate)
        given = [File(name, partial(bytes, data)) for name, data in files]
        reader = self._readers.of(inquiry)
        check_sizes(reader, given)
        report = traced(inquiry, reader, given, pool=pool, keep=True)
        assert report is not None  # which was asked for
        return report

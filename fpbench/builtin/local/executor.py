"""`local`: stages on this machine, one after the other or in a few slots."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated

from pydantic import Field

from fpbench.api import Card, Executor, Params


class LocalParams(Params):
    """How much at a time.

    Attributes:
        slots: stages that run at the same time, each in a thread; 0 runs them one after the other
            in the thread that submits them, which then hears of nothing else.
    """

    slots: Annotated[int, Field(ge=0)] = 1


class LocalExecutor(Executor[LocalParams]):
    """Runs a stage as soon as a slot is free, or when it is submitted (no slots)."""

    name = "local"
    version = "1"
    Params = LocalParams
    card = Card("This machine", "own", "Apache-2.0", "Runs stages here, one or a few at a time.")

    def __init__(self, params: LocalParams) -> None:
        super().__init__(params)
        self._pool = ThreadPoolExecutor(params.slots) if params.slots else None

    def submit(self, run: Callable[[str], bool], key: str) -> Future[bool]:
        """See `Executor.submit`; exceptions are in the future."""
        if self._pool is not None:
            return self._pool.submit(run, key)
        future: Future[bool] = Future()
        try:
            future.set_result(run(key))
        except Exception as error:  # noqa: BLE001 - handed to whoever asks for the result
            future.set_exception(error)
        return future

    def capacity(self) -> int:
        """Number of slots."""
        return max(1, self.params.slots)

    def close(self, *, cancel: bool) -> None:
        """See `Executor.close`."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=cancel)

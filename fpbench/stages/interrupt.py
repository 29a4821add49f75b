"""The user's wish to stop: a first Ctrl-C lets the running step end and saves, a second kills."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ASK = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


class Stopped(KeyboardInterrupt):
    """The user stops the run; unlike a KeyboardInterrupt of a plugin's own making."""


class Interrupt:
    """Set by the first Ctrl-C."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def graceful(interrupt: Interrupt) -> Iterator[None]:
    """Within the block, Ctrl-C and its like set `interrupt`, and raise `Stopped` after that."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        if interrupt.requested:
            raise Stopped
        interrupt.requested = True

    # A terminal that closes and a scheduler that takes the machine back ask for the same.
    former = {number: signal.signal(number, handle) for number in _ASK}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)

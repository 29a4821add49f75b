"""The user's wish to stop: a first Ctrl-C lets the running step end and saves, a second kills."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Set by the first Ctrl-C."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def graceful(interrupt: Interrupt) -> Iterator[None]:
    """Within the block, SIGINT sets `interrupt` first and raises KeyboardInterrupt after that."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        if interrupt.requested:
            raise KeyboardInterrupt
        interrupt.requested = True

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        interrupt.requested = True

    former = signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGUSR1, ask)  # how a parent asks its workers, any number of times
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)

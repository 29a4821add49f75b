"""Lets one process at a time change a board."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fpbench.api import StoreError
from fpbench.store.objects import disk_errors


@contextmanager
def locked(board: Path) -> Iterator[None]:
    """Hold the lock file beside a board.

    Raises:
        StoreError: another process holds it, or was killed while it did.
    """
    file = board.with_name(f".{board.name}.lock")
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            raise _held(board, file) from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(f"process {os.getpid()}\n")
        yield
    finally:
        file.unlink(missing_ok=True)


def _held(board: Path, file: Path) -> StoreError:
    try:
        holder = file.read_text(encoding="utf-8").strip()[:40]
    except (OSError, ValueError):
        holder = ""
    return StoreError(
        f"board {board}: expected nobody else who changes it, got the lock {file} of "
        f"{holder or 'another process'}. Wait until it ends; if it was killed, delete that file",
        path=str(file),
    )

"""Who computes what: leases on a file system that several processes and machines share.

    <root>/leases/<key>        a JSON line: who holds it; its time is his last sign of life
    <root>/leases/.clock.*     touched to ask the file system for the time

A lease is made by a hard link, which fails where one is there; its holder touches it every half
minute, and one that was not touched for five is anybody's. Times are those of the file system
alone: clocks of machines differ. Where that clock was set back, a sign of life from the future is
dated now.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from fpbench.api import StoreError
from fpbench.store.objects import disk_errors

BEAT_S = 30.0
EXPIRY_S = 300.0
_TOLD = ("token", "host", "place", "pid", "label", "since")


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes:
        token: of this one lease.
        host: name of the machine.
        place: within which the number of a process means something: a boot, a container.
        pid: of the process.
        label: what it does.
        since: Unix time by the holder's own clock, for people.
        age_s: seconds since its last sign of life, by the file system's clock.
    """

    token: str
    host: str
    place: str
    pid: int
    label: str
    since: float
    age_s: float = 0.0

    @property
    def gone(self) -> bool:
        """Whether it is taken as dead: too long silent, or a process of this machine that ended."""
        return self.age_s > EXPIRY_S or (self.place == _place() and not _alive(self.pid))

    def text(self) -> str:
        """Who it is, for people who wait."""
        return (
            f"process {self.pid} on {self.host or 'a machine unknown'}, last heard of "
            f"{self.age_s:.0f} s ago; silent for {EXPIRY_S:.0f} s, it is taken as dead"
        )


class Leases:
    """The leases of one process on one store.

    Args:
        root: of the store.
        beat_s: seconds between two signs of life.
    """

    def __init__(self, root: Path, beat_s: float = BEAT_S) -> None:
        self._folder = root / "leases"
        self._beat_s = beat_s
        self._held: dict[str, Holder] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, key: str, label: str) -> bool:
        """Whether the lease of a stage is ours from now on; not while somebody else has it."""
        own = Holder(
            secrets.token_hex(8), platform.node(), _place(), os.getpid(), label, time.time()
        )
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            if not self._link(own, key):
                other = self.holder(key)
                if other is not None and not (other.gone and self._removed(key, other)):
                    return False
                if not self._link(own, key):
                    return False
        with self._lock:
            self._held[key] = own
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, daemon=True)
                self._thread.start()
        return True

    def release(self, key: str) -> None:
        """Give a lease back; nothing happens where it was lost."""
        with self._lock:
            own = self._held.pop(key, None)
        if own is not None:
            self._removed(key, own)

    def close(self) -> None:
        """Give everything back."""
        self._stop.set()
        for key in list(self._held):
            self.release(key)

    def holder(self, key: str) -> Holder | None:
        """Who holds the lease of a stage; None if nobody does."""
        return self._read(self._folder / key)

    def all(self) -> dict[str, Holder]:
        """Stage key -> who works on it, of all that are alive."""
        found = {}
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            holder = None if path.name.startswith(".") else self._read(path)
            if holder is not None and not holder.gone:
                found[path.name] = holder
        return found

    @contextmanager
    def alone(self, key: str, label: str, patience_s: float = 600.0) -> Iterator[None]:
        """A block that one process at a time is in; others wait.

        Raises:
            StoreError: somebody else stays in it for longer than `patience_s`.
        """
        until = time.monotonic() + patience_s
        while not self.take(key, label):
            if time.monotonic() > until:
                other = self.holder(key)
                who = other.text() if other is not None else "another"
                raise StoreError(
                    f"store: expected {label} to be free within {patience_s:.0f} s, got it held by "
                    f"{who}; wait until it ends and run the same command again"
                )
            time.sleep(0.05)
        try:
            yield
        finally:
            self.release(key)

    def _link(self, own: Holder, key: str) -> bool:
        about = {name: getattr(own, name) for name in _TOLD}
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=".new.")
        try:
            os.fchmod(handle, 0o644)  # who shares the store reads who is at what
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(json.dumps(about) + "\n")
            os.link(name, self._folder / key)
        except FileExistsError:
            return False
        finally:
            Path(name).unlink(missing_ok=True)
        return True

    def _removed(self, key: str, holder: Holder) -> bool:
        """Take a holder's lease away; False where it is another's by now, or another does it."""
        guard = self._folder / f".taking.{key}"
        try:
            guard.mkdir()
        except FileExistsError:
            with suppress(OSError):  # of one who was killed within it
                if self._age_s(guard) > EXPIRY_S:
                    guard.rmdir()
            return False
        try:
            return self._moved(key, holder)
        finally:
            with suppress(OSError):
                guard.rmdir()

    def _moved(self, key: str, holder: Holder) -> bool:
        now = self._read(self._folder / key)
        if now is not None and now.token != holder.token:
            return False
        path = self._folder / key
        aside = self._folder / f".old.{holder.token}.{secrets.token_hex(4)}"
        try:
            path.rename(aside)
        except FileNotFoundError:
            return True
        found = self._read(aside)
        if found is not None and found.token != holder.token:
            with suppress(FileExistsError):
                os.link(aside, path)  # somebody was faster: his lease goes back
            aside.unlink(missing_ok=True)
            return False
        with suppress(OSError):  # a folder, say: litter from now on
            aside.unlink()
        return True

    def _read(self, path: Path) -> Holder | None:
        try:
            age_s = self._age_s(path)
        except FileNotFoundError:
            return None
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except PermissionError:
            return _unknown(age_s)  # another user's, who lives by its time
        except (IsADirectoryError, ValueError, RecursionError):
            about = None
        if not _says_who(about):
            return _unknown(EXPIRY_S + 1)  # torn by a full disk, or no lease: nobody lives on it
        return Holder(**about, age_s=age_s)

    def _age_s(self, path: Path) -> float:
        """Seconds since a lease was touched."""
        age_s = self._now() - path.stat().st_mtime
        if age_s < -BEAT_S:
            with suppress(OSError):
                os.utime(path)
        return max(0.0, age_s)

    def _now(self) -> float:
        """The time by the file system; by the machine where nothing can be written."""
        try:
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".clock.")
        except OSError:
            return time.time()
        try:
            return os.fstat(handle).st_mtime
        finally:
            os.close(handle)
            Path(name).unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._stop.wait(self._beat_s):
            with self._lock:
                held = dict(self._held)
            for key in held:
                with suppress(OSError):
                    os.utime(self._folder / key)


def _says_who(about: Any) -> bool:
    kinds = {field.name: field.type for field in fields(Holder) if field.name in _TOLD}
    return isinstance(about, dict) and kinds == {k: type(v).__name__ for k, v in about.items()}


def _unknown(age_s: float) -> Holder:
    return Holder("", "", "", 0, "unknown", 0.0, age_s)


@cache
def _place() -> str:
    """This boot and this container, so that a number of a process is looked up where it counts."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - no path, but a name
    except OSError:
        return platform.node()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return False
    except OSError:
        return True
    return True

"""Environments of libraries that must not meet fpbench's own; made once by `fpbench prepare`.

`NAME-DIGEST` lies in the cache, the digest being that of the pins: other pins are another
environment. The pins are written into it last, so that one that holds them is whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fpbench.api import MissingResource

_NEVER = ' ; sys_platform == "never"\n'
_CONSTRAINING = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "VIRTUAL_ENV")
_TAIL_LINES = 8


def environments_folder() -> Path:
    """Where they lie: $FPBENCH_ENVIRONMENTS, or `~/.cache/fpbench/environments`."""
    named = os.environ.get("FPBENCH_ENVIRONMENTS")
    default = Path.home() / ".cache" / "fpbench" / "environments"
    return Path(named).expanduser().resolve() if named else default


@dataclass(frozen=True)
class Environment:
    """The environment of a library.

    Attributes:
        name: of the library.
        pins: NAME==VERSION of it and of all that its numbers depend on.
        dropped: what it asks for, and is not installed: what it never calls here, or what another
            package among the pins stands in for.
        release: of Python that it asks for, "3.12"; empty = that of fpbench.
    """

    name: str
    pins: tuple[str, ...]
    # The build with windows needs libraries of a desktop; both give the same numbers.
    dropped: tuple[str, ...] = ("opencv-python",)
    release: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of the pins."""
        return hashlib.sha256("\n".join(self.pins).encode()).hexdigest()

    @property
    def folder(self) -> Path:
        """Where it lies, or would."""
        return environments_folder() / f"{self.name}-{self.digest[:16]}"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def found(self) -> bool:
        """Whether it is there, and whole."""
        return self._made.is_file() and self.python.exists()

    def make(self) -> None:
        """Make it anew, with uv.

        Raises:
            MissingResource: uv is not there, or could not.
        """
        uv = shutil.which("uv")
        if uv is None:
            raise MissingResource(
                f"environment of {self.name}: expected uv to make it with, got none on the path; "
                "install it (`pip install uv`)"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._made.unlink(missing_ok=True)
        python = self.release or sys.executable
        self._run(uv, "venv", "--clear", "--python", python, str(self.folder))
        dropped = self.folder / "dropped.txt"
        dropped.write_text("".join(name + _NEVER for name in self.dropped), encoding="utf-8")
        self._run(
            *(uv, "pip", "install", "--python", str(self.python)),
            *("--override", str(dropped), *self.pins),
        )
        self._made.write_text("\n".join(self.pins) + "\n", encoding="utf-8")

    @property
    def _made(self) -> Path:
        return self.folder / "pins.txt"

    def _run(self, *command: str) -> None:
        own = {name: value for name, value in os.environ.items() if name not in _CONSTRAINING}
        done = subprocess.run(  # noqa: S603 - uv and our own pins
            command, cwd=self.folder.parent, env=own, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise MissingResource(
                f"environment of {self.name}: expected `{' '.join(command[1:3])}` to make "
                f"{self.folder}, got exit code {done.returncode}: {' | '.join(said[-_TAIL_LINES:])}"
                "; run `fpbench prepare SUITE` on a machine with internet, with "
                "FPBENCH_ENVIRONMENTS naming a folder that both see"
            )

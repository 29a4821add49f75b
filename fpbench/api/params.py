"""The base of every component's parameters."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Params(BaseModel):
    """Frozen, strict, no unknown fields; its canonical JSON is both cache key and label."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", validate_default=True)


class NoParams(Params):
    """No parameters, as of an attack with nothing but a strength."""


class Local:
    """Marks a parameter as a place on this machine: `path: Annotated[str, Local()]`.

    What lies there is identified by its digest, so the place is no part of a key, and records and
    pages show its last part only.
    """


class Command:
    """Marks a parameter as code that a suite brings: words of a command, a function of a file.

    It is run by `run` alone, and only where it is allowed there; keys know it, and records, pages
    and bundles do not show it.
    """


def marked_names(params: type[Params], mark: type[Local] | type[Command]) -> set[str]:
    """The parameters with a mark."""
    return {
        name
        for name, field in params.model_fields.items()
        if any(isinstance(each, mark) for each in field.metadata)
    }


def local_names(params: type[Params]) -> set[str]:
    """The parameters that are places on this machine."""
    return marked_names(params, Local)


def commands(params: Params) -> dict[str, str]:
    """What of a component's parameters is code of the suite's: name -> as people write it."""
    given = {name: getattr(params, name) for name in sorted(marked_names(type(params), Command))}
    return {
        name: value if isinstance(value, str) else shlex.join(value)
        for name, value in given.items()
        if value
    }


def local_digest(params: Params) -> str:
    """SHA-256 over the contents of the files and folders that `Local` parameters name.

    Empty where no parameter does, or what it names is not there.
    """
    total, found = hashlib.sha256(), False
    for name in sorted(local_names(type(params))):
        place = Path(str(getattr(params, name) or "."))
        named = sorted(place.rglob("*")) if place.is_dir() and getattr(params, name) else [place]
        for path in named:
            if (
                path.is_file() and "__pycache__" not in path.parts
            ):  # made by running what lies there
                inside = path.relative_to(place).as_posix() if path != place else ""
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                total.update(f"{name}\0{inside}\0{content}\n".encode())
                found = True
    return total.hexdigest() if found else ""

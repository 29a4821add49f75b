"""The base of every component's parameters."""

from __future__ import annotations

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


def local_names(params: type[Params]) -> set[str]:
    """The parameters that are places on this machine."""
    return {
        name
        for name, field in params.model_fields.items()
        if any(isinstance(mark, Local) for mark in field.metadata)
    }

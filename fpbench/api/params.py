"""The base of every component's parameters."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Params(BaseModel):
    """Frozen, strict, no unknown fields; its canonical JSON is both cache key and label."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", validate_default=True)


class NoParams(Params):
    """No parameters, as of an attack with nothing but a strength."""

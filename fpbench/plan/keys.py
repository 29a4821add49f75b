"""How a stage key is made: SHA-256 of the canonical JSON of what the stage depends on.

Parts that say nothing are left out, so that what is added later moves no key where it is not used.
The layout is frozen: `tests/unit/plan/test_golden_keys.py` holds keys that must not change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from fpbench.api import digest

KEY_VERSION = 2
"""Raised with the layout; stores of another version are left alone, and everything is made anew."""

ACCEPTED = "accepted_source"
"""Among the plain values of an artefact that was taken over from other source: its former key."""


def key_of(kind: str, **parts: Any) -> str:
    """The key of a stage.

    Args:
        kind: what it makes.
        parts: what it depends on; empty ones are left out.
    """
    return digest({"version": KEY_VERSION, "kind": kind, **trimmed(parts)})


def trimmed(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that say something: not None, no empty text and nothing without content."""
    return {
        name: part
        for name, part in parts.items()
        if part is not None and not (isinstance(part, str | list | tuple | dict) and not part)
    }


def sub_key(base: str, index: int) -> str:
    """The key of one of many stages that differ by a number alone."""
    return hashlib.sha256(f"{base}/{index}".encode()).hexdigest()

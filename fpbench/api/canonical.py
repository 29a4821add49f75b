"""Canonical JSON and the digests made of it: the ground that every key and seed stands on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

_SEED_BITS = 63  # torch and numpy both take a non-negative 63-bit seed


def canonical_json(value: Any) -> str:
    """JSON text that is the same for equal values: sorted keys, no spaces, no NaN.

    Args:
        value: nested dicts with string keys, lists, tuples, strings, numbers, booleans, None.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a value has no JSON form, or a dict key is not a string.
    """
    _check_keys(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def derive_seed(*parts: Any) -> int:
    """A seed in [0, 2**63) that depends on all parts and on nothing else."""
    raw = hashlib.sha256(canonical_json(list(parts)).encode()).digest()
    return int.from_bytes(raw[:8], "big") >> (64 - _SEED_BITS)


_NESTS = (dict, list, tuple)


def _check_keys(value: Any) -> None:
    # json.dumps turns the keys 1 and "1" into the same text, which would let two values collide.
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"canonical JSON: expected string keys, got {key!r}")
        value = value.values()
    elif not isinstance(value, _NESTS):
        return
    for item in value:
        if isinstance(item, _NESTS):
            _check_keys(item)

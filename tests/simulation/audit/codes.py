"""Issued codes, drawn once more.

Code u: numpy's default generator, seeded by the first 63 bits of the SHA-256 of [suite seed,
"code", K, u, attempt], draws 64 rows of K fair bits; the first row counts that is reserved and
that no earlier user has. A row is reserved when the last three bits of its hash are zero: K, then
each 64 bits (packed most significant first into bytes, the bytes little endian, padded by zeros)
are exclusive-ored in and mixed by splitmix64 (Steele, Lea, Flood 2014).
"""

from __future__ import annotations

import numpy as np

from audit.files import seed_of

_WORD = 2**64 - 1
_ROWS, _ATTEMPTS = 64, 156


def issued_codes(suite_seed: int, bits: int, users: int) -> np.ndarray:
    """(users, K) bool."""
    found: list[tuple[bool, ...]] = []
    for user in range(users):
        found.append(next(c for c in _reserved(suite_seed, bits, user) if c not in found))
    return np.array(found)


def _reserved(suite_seed: int, bits: int, user: int):
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng(seed_of(suite_seed, "code", bits, user, attempt))
        for row in rng.integers(0, 2, (_ROWS, bits), dtype=np.uint8):
            if _hash(row) % 8 == 0:
                yield tuple(bool(bit) for bit in row)


def _hash(row: np.ndarray) -> int:
    text = "".join(map(str, row.tolist()))
    text += "0" * (-len(text) % 64)
    value = len(row)
    for place in range(0, len(text), 64):
        word = text[place : place + 64]
        octets = bytes(int(word[i : i + 8], 2) for i in range(0, 64, 8))
        value = _mix(value ^ int.from_bytes(octets, "little"))
    return value


def _mix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _WORD
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _WORD
    return x ^ (x >> 31)

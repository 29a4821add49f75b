"""`bch`: code words of a binary BCH code, as papers use them to correct a reader's errors.

Bose, Chaudhuri and Hocquenghem (1959, 1960); Lin and Costello, Error Control Coding, chapter 6. The
generator polynomial of length n = 2^q - 1 is the least common multiple of the minimal polynomials
of a^1 .. a^2t, a primitive in GF(2^q); polynomials over GF(2) are whole numbers, bit i = x^i.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fpbench.api import Card, Code, ContractError, Params

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PRIMITIVE = (0x7, 0xB, 0x13, 0x25, 0x43, 0x89, 0x11D, 0x211, 0x409, 0x805, 0x1053)
"""Primitive polynomials over GF(2) of degree 2, 3, …"""
_MESSAGE = 20
"""Bits of a message that are left unless told otherwise: a million users."""


class BchParams(Params):
    """How much is corrected.

    Attributes:
        errors: t, wrong bits that are corrected; the more, the fewer users have a code. None = as
            many as leave messages of 20 bits.
    """

    errors: Annotated[int, Field(ge=1)] | None = None


class Bch(Code[BchParams]):
    """A reading fits the code word that it is decoded to, if any has at most t other bits.

    Words differ in more than 2t bits, so at most one is that near, and it is found by comparing:
    nothing is decoded. Of the 2^m words an innocent's is that one with probability 2^-m.
    """

    name = "bch"
    version = "1"
    Params = BchParams
    card = Card(
        "BCH codes",
        "Bose and Ray-Chaudhuri 1960; Hocquenghem 1959",
        "Apache-2.0",
        "Words of an error-correcting code; a reading accuses the one word within its reach.",
        differs="shortened, or lengthened by repeating, to any number of bits",
    )

    def objection(self, bits: int) -> str:
        """See Code.objection."""
        t = self.params.errors
        if _chosen(bits, t) is not None:
            return ""
        if t is None:
            return (
                f"code bch: expected bits for messages of {_MESSAGE} bits and an error corrected, "
                f"got {bits}; set errors, or more bits"
            )
        return (
            f"code bch: expected bits for a message and {t} errors corrected, got {bits}; set "
            f"fewer errors, or more bits"
        )

    def draw(
        self,
        bits: int,
        count: int,
        rng: np.random.Generator,
        book: Mapping[str, NDArray[Any]],
    ) -> NDArray[np.bool_]:
        """Words of uniform messages."""
        import numpy as np

        del book
        chosen = self._chosen(bits)
        messages = rng.integers(0, 2, size=(count, chosen.message), dtype="uint8")
        words = (messages @ _generator_matrix(chosen) % 2).astype(bool)
        return words[:, np.arange(bits) % words.shape[1]]

    def match(
        self, logits: NDArray[Any], codes: NDArray[Any], book: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float64]:
        """Equal bits where at most t differ, else 0."""
        import numpy as np

        from fpbench.stats import matches

        del book
        bits = logits.shape[1]
        equal = matches(logits > 0, codes)
        near = equal >= bits - self._chosen(bits).errors
        return np.where(near, equal, 0).astype(np.float64)

    def log_tail(
        self, logits: NDArray[Any], score: NDArray[Any], book: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float64]:
        """See Code.log_tail."""
        import numpy as np

        del book
        message = self._chosen(logits.shape[1]).message
        return np.where(score > 0, -message * math.log(2), 0.0)

    def _chosen(self, bits: int) -> _Chosen:
        chosen = _chosen(bits, self.params.errors)
        if chosen is None:
            raise ContractError(self.objection(bits))
        return chosen


@dataclass(frozen=True)
class _Chosen:
    """A code of length n = 2^q - 1, shortened to as many message bits as given."""

    message: int
    errors: int
    degree: int


@lru_cache(maxsize=64)
def _chosen(bits: int, errors: int | None) -> _Chosen | None:
    """The code with the longest message that corrects t errors in K bits; None if there is none."""
    if errors is not None:
        return max(_of_lengths(bits, errors), key=lambda c: c.message, default=None)
    best = None
    for t in range(1, bits):
        found = _chosen(bits, t)
        if found is None or found.message < _MESSAGE:
            break
        best = found
    return best


def _of_lengths(bits: int, errors: int) -> list[_Chosen]:
    """From the two lengths beside K: the longer is shortened, the shorter repeated."""
    found = []
    for degree in (bits.bit_length() - 1, bits.bit_length()):
        if degree - 2 in range(len(_PRIMITIVE)) and 2 * errors < 2**degree - 1:
            message = min(2**degree - 1, bits) - len(_roots(degree, errors))
            if message > 0:
                found.append(_Chosen(message, errors, degree))
    return found


def _roots(degree: int, errors: int) -> list[int]:
    """Exponents of the generator's roots: 1 .. 2t and their conjugates, doubled again and again."""
    roots = dict.fromkeys(
        (root << i) % (2**degree - 1) for root in range(1, 2 * errors, 2) for i in range(degree)
    )
    return list(roots)


@lru_cache(maxsize=16)
def _generator(degree: int, errors: int) -> int:
    """The generator polynomial of the code of length 2^q - 1 that corrects t errors."""
    length = 2**degree - 1
    powers = [1]
    for _ in range(length - 1):
        doubled = powers[-1] << 1
        powers.append(doubled ^ _PRIMITIVE[degree - 2] if doubled >> degree else doubled)
    log = {value: i for i, value in enumerate(powers)}
    product = [1]
    for root in _roots(degree, errors):
        times_x = [0, *product]
        times_root = [powers[(log[c] + root) % length] if c else 0 for c in product]
        product = [a ^ b for a, b in zip(times_x, [*times_root, 0], strict=True)]
    return sum(c << i for i, c in enumerate(product))


@lru_cache(maxsize=16)
def _generator_matrix(chosen: _Chosen) -> NDArray[np.uint8]:
    """(m, n) words of single message bits: the message, then its remainder."""
    import numpy as np

    generator = _generator(chosen.degree, chosen.errors)
    checks = generator.bit_length() - 1
    rows = []
    for i in range(chosen.message):
        rest = 1 << (checks + i)
        for j in range(checks + i, checks - 1, -1):
            if rest >> j & 1:
                rest ^= generator << (j - checks)
        word = 1 << (checks + i) | rest
        rows.append([word >> j & 1 for j in range(checks + chosen.message)])
    return np.array(rows, dtype=np.uint8)

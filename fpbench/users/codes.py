"""How codes are drawn: from the system's random source, and none of them twice."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import numpy as np

from fpbench.api import SpecError
from fpbench.plan import is_reserved

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]

Draw = Callable[[int], "NDArray[np.bool_]"]
"""n -> (n, K) bool: codes of a kind, drawn from a secret source."""

Near = Callable[["NDArray[np.bool_]"], bool]
"""(K,) bool -> whether this code is too near to one that was issued."""

_ROUNDS = 1000
_LEAST = 16  # one in eight of what is drawn is reserved
_SHARE = 10


def uniform(bits: int) -> Draw:
    """Codes whose bits are independent fair coins of the operating system (`secrets`)."""

    def draw(count: int) -> Bools:
        width = -(-bits // 8)
        raw = np.frombuffer(secrets.token_bytes(count * width), np.uint8).reshape(count, width)
        return np.unpackbits(raw, axis=1, count=bits).view(bool)

    return draw


def drawn(
    count: int,
    bits: int,
    draw: Draw | None,
    taken: Callable[[list[bytes]], Collection[bytes]],
    near: Near | None = None,
) -> list[bytes]:
    """`count` distinct reserved codes, packed, none of which is taken.

    Args:
        count: how many.
        bits: K.
        draw: where they come from; None = `uniform`.
        taken: which of some packed codes were ever issued.
        near: whether a code is too near to one that was issued; None = none is.

    Raises:
        SpecError: `draw` returns something else than codes, or finds no new ones.
    """
    source = draw or uniform(bits)
    found: dict[bytes, None] = {}
    for _ in range(_ROUNDS):
        codes = source(max(_LEAST, _SHARE * (count - len(found))))
        if codes.ndim != 2 or codes.shape[1] != bits or codes.dtype != np.bool_:
            text = f"expected draw to return bool (n, {bits}), got {codes.dtype} {codes.shape}"
            raise SpecError([f"registry: {text}"])
        kept = codes[is_reserved(codes)]
        if near is not None:
            kept = kept[[not near(code) for code in kept]] if len(kept) else kept
        width = -(-bits // 8)
        raw = np.packbits(kept, axis=1).tobytes()
        fresh = [raw[at : at + width] for at in range(0, len(raw), width)]
        fresh = [code for code in dict.fromkeys(fresh) if code not in found]
        gone = set(taken(fresh)) if fresh else set()
        found.update((code, None) for code in fresh if code not in gone)
        if len(found) >= count:
            return list(found)[:count]
    raise SpecError(
        [
            f"registry: expected {count} new codes of {bits} bits, got {len(found)} in {_ROUNDS} "
            "draws; so many users need a model of more bits, or a smaller least distance"
        ]
    )

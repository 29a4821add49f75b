"""Tails of sums of whole weights, each there or not: exact, by convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_ROUNDING = 1e-6
_CELLS = 2**16
"""Probabilities at a time: they fit into a core's cache."""


def log_tails(weights: Ints, agree: Floats, reached: Floats) -> Floats:
    """Log P(the weights of the bits in which a fresh code agrees are at least so much together).

    Args:
        weights: (N, K) whole numbers from 0.
        agree: (N, K) probability that a fresh code agrees in a bit.
        reached: (N, U) sums; what lies between two whole ones counts as the next.

    Returns:
        (N, U); what no double can hold is called as likely as the least one.
    """
    import numpy as np

    agreed = np.ceil(reached - _ROUNDING).astype(np.int64)
    tails = np.empty(agreed.shape)
    size = int(weights.max(axis=0, initial=0).sum()) + 1
    rows = max(1, _CELLS // size)
    for first in range(0, len(agreed), rows):
        part = slice(first, first + rows)
        tail = _all_tails(weights[part], agree[part], size)
        tails[part] = np.take_along_axis(tail, agreed[part].clip(0, size - 1), axis=1)
    return tails


def _all_tails(weights: Ints, agree: Floats, size: int) -> Floats:
    """(N, size) log P(sum of the weights where a fresh code agrees >= s), s = 0 .. size - 1."""
    import numpy as np

    law = np.zeros((len(weights), size))
    law[:, 0] = 1
    end = 1
    for i in np.argsort(weights.max(axis=0)):  # narrow laws grow slowest that way
        for weight in np.unique(weights[:, i]):
            same = weights[:, i] == weight
            rows = slice(None) if same.all() else same
            agreed = law[rows, :end] * agree[rows, i, None]
            law[rows, :end] -= agreed
            law[rows, weight : weight + end] += agreed
        end += weights[:, i].max()
    reached = np.cumsum(law[:, ::-1], axis=1)[:, ::-1]
    return np.log(np.clip(reached, np.finfo(np.float64).tiny, 1))

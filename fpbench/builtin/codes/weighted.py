"""`weighted`: uniform codes of which a bit counts as much as the reader is sure of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fpbench.api import Card, Code, NoParams

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_STEPS = 4
"""Weights are whole numbers of so many parts of a reading's root mean square."""
_MOST = 3
"""Times the root mean square: what a bit counts at most."""


class Weighted(Code[NoParams]):
    """The correlation of a reading with a code, up to the scale of the reading.

    Of a reading l and a code c it is the sum of c l / |l|, with weights rounded to quarters of the
    root mean square so that tails are exact.
    """

    name = "weighted"
    version = "1"
    Params = NoParams
    card = Card(
        "Weighted codes",
        "own",
        "Apache-2.0",
        "Fair independent bits; a bit in which reading and code are equal counts as much as the "
        "reader is sure of it, compared with its other bits.",
    )

    def draw(
        self,
        bits: int,
        count: int,
        rng: np.random.Generator,
        book: Mapping[str, NDArray[Any]],
    ) -> NDArray[np.bool_]:
        """See Code.draw."""
        del book
        return rng.integers(0, 2, size=(count, bits), dtype="uint8").astype(bool)

    def match(
        self, logits: NDArray[Any], codes: NDArray[Any], book: Mapping[str, NDArray[Any]]
    ) -> Floats:
        """Weights of equal bits less half of all: of an innocent 0 on average."""
        import numpy as np

        del book
        signs = np.where(logits > 0, 1.0, -1.0) * _weights(logits)
        return np.asarray(signs @ np.where(codes, 0.5, -0.5).T)

    def log_tail(
        self, logits: NDArray[Any], score: NDArray[Any], book: Mapping[str, NDArray[Any]]
    ) -> Floats:
        """See Code.log_tail."""
        import numpy as np

        from fpbench.builtin.codes.lattice import log_tails

        del book
        weights = _weights(logits)
        half = weights.sum(axis=1, keepdims=True) / 2
        return log_tails(weights, np.full(logits.shape, 0.5), score + half)


def _weights(logits: NDArray[Any]) -> Ints:
    """(N, K) whole numbers from 0."""
    import numpy as np

    size = np.abs(logits.astype(np.float64))
    mean = np.sqrt(np.square(size).mean(axis=1, keepdims=True))
    whole: Ints = np.rint(_STEPS * np.minimum(size / np.maximum(mean, 1e-300), _MOST)).astype(
        np.int64
    )
    return whole

"""Fair independent bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fpbench.api import Card, Code, NoParams

if TYPE_CHECKING:
    import numpy as np


class Uniform(Code[NoParams]):
    """Every bit is a fair coin, so that any reading matches it in Bin(K, 1/2) bits by chance."""

    name = "uniform"
    version = "1"
    Params = NoParams
    card = Card(
        "Uniform codes",
        "own",
        "Apache-2.0",
        "Fair independent bits; a code fits a reading by the number of equal bits.",
    )

    def draw(
        self, bits: int, count: int, rng: np.random.Generator, book: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """See `Code.draw`."""
        del book
        return rng.integers(0, 2, size=(count, bits), dtype="uint8").astype(bool)

    def match(
        self, logits: np.ndarray, codes: np.ndarray, book: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """(N, U) equal bits."""
        from fpbench import stats

        del book
        return stats.matches(logits > 0, codes).astype("float64")

    def log_tail(
        self, logits: np.ndarray, score: np.ndarray, book: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """(N, U) log P(Bin(K, 1/2) >= equal bits)."""
        from fpbench import stats

        del book
        return stats.log_tail(logits.shape[1], score.astype("int64"))

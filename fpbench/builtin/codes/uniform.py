"""`uniform`: fair independent bits, the codes of all methods unless a suite says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fpbench.api import Card, Code, NoParams

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Uniform(Code[NoParams]):
    """A reading fits a code in as many bits as are equal: of an innocent's, Bin(K, 1/2)."""

    name = "uniform"
    version = "1"
    Params = NoParams
    card = Card("Uniform codes", "own", "Apache-2.0", "Fair independent bits; equal bits count.")

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
    ) -> NDArray[np.float64]:
        """Equal bits."""
        import numpy as np

        from fpbench.stats import matches

        del book
        return matches(logits > 0, codes).astype(np.float64)

    def log_tail(
        self, logits: NDArray[Any], score: NDArray[Any], book: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float64]:
        """See Code.log_tail."""
        import numpy as np

        from fpbench.stats import log_tail

        del book
        return log_tail(logits.shape[1], np.ceil(score).astype(np.int64))

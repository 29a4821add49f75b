"""`tardos`: codes that coalitions cannot combine into somebody else's.

Tardos, Optimal probabilistic fingerprint codes (JACM 2008), with the symmetric score of Škorić,
Katzenbeisser and Celik (2008). Position i has a bias p_i of the arcsine law, bits are
Bernoulli(p_i). A reading y gives a code x the sum of

    (1 - q_i) w_i where x_i = y_i, -q_i w_i else;  w_i = 1 / sqrt(p_i (1 - p_i)), q_i = P(x_i = y_i)

so that an innocent's score has mean 0 and variance about K whatever the reading. The w_i are
rounded to halves: scores then lie on a lattice and their tails are summed exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fpbench.api import Card, Code, Params

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_STEPS = 2
"""Lattice points in a unit of the score; finer ones trace no better."""
_LEVELS = 4
"""Weights of a soft reading, besides 0."""


class TardosParams(Params):
    """Biases and scores.

    Attributes:
        cutoff: biases lie in [cutoff, 1 - cutoff]; the less, the larger the coalitions and the
            longer the codes that it is for.
        soft: a bit counts as much as the reader is sure of it, tanh(|logit| / 2) in quarters; for
            readers whose logits are honest odds.
    """

    cutoff: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    soft: bool = False


class Tardos(Code[TardosParams]):
    """Tardos codes with the symmetric score; the book holds `biases` (K,) float64."""

    name = "tardos"
    version = "1"
    Params = TardosParams
    card = Card(
        "Tardos codes",
        "Tardos 2008; Škorić, Katzenbeisser and Celik 2008",
        "Apache-2.0",
        "Bits with secret biases, and a score by which some member of a coalition is traced "
        "however it mixes its copies, bit by bit.",
        differs="weights rounded to halves, so that false rates are exact; the cut-off is a "
        "parameter",
    )

    def book(self, bits: int, rng: np.random.Generator) -> Mapping[str, Floats]:
        """`biases` (K,): sin² of angles that are uniform between those of the cut-offs."""
        import numpy as np

        least = np.arcsin(np.sqrt(self.params.cutoff))
        return {"biases": np.sin(rng.uniform(least, np.pi / 2 - least, bits)) ** 2}

    def draw(
        self,
        bits: int,
        count: int,
        rng: np.random.Generator,
        book: Mapping[str, NDArray[Any]],
    ) -> NDArray[np.bool_]:
        """See Code.draw."""
        import numpy as np

        return np.asarray(rng.random((count, bits)) < book["biases"])

    def match(
        self, logits: NDArray[Any], codes: NDArray[Any], book: Mapping[str, NDArray[Any]]
    ) -> Floats:
        """The symmetric score; of an innocent mean 0, variance about K (soft: at most)."""
        import numpy as np

        weights, agree = self._law(logits, book)
        signs = np.where(logits > 0, 1.0, -1.0) * weights
        total = weights.sum(axis=1, keepdims=True)
        agreed = (total + signs @ np.where(codes, 1.0, -1.0).T) / 2
        return np.asarray((agreed - _mean(weights, agree)) / _STEPS)

    def log_tail(
        self, logits: NDArray[Any], score: NDArray[Any], book: Mapping[str, NDArray[Any]]
    ) -> Floats:
        """See Code.log_tail; what no double can hold is called as likely as the least one."""
        from fpbench.builtin.codes.lattice import log_tails

        weights, agree = self._law(logits, book)
        return log_tails(weights, agree, score * _STEPS + _mean(weights, agree))

    def _law(self, logits: NDArray[Any], book: Mapping[str, NDArray[Any]]) -> tuple[Ints, Floats]:
        """Weights (N, K) on the lattice and P(a fresh bit agrees with the reading's) (N, K)."""
        import numpy as np

        biases = np.asarray(book["biases"], dtype=np.float64)
        widths = _STEPS / np.sqrt(biases * (1 - biases))
        sure = np.ones(logits.shape)
        if self.params.soft:
            sure = np.rint(_LEVELS * np.tanh(np.abs(logits, dtype=np.float64) / 2)) / _LEVELS
        return np.rint(widths * sure).astype(np.int64), np.where(logits > 0, biases, 1 - biases)


def _mean(weights: Ints, agree: Floats) -> Floats:
    """(N, 1) what innocents reach on average."""
    import numpy as np

    return np.asarray((weights * agree).sum(axis=1, keepdims=True))

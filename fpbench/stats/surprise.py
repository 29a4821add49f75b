"""Decisions where matches follow no one law: how surprising each fit would be of an innocent.

A code component gives log P(an innocent's code fits this reading as well), whose law is the same
for every reading and code: at most p with probability p. What `Matching` says of equal bits,
`Surprise` says of minus that logarithm. Letters: N images, R codes, D distractors.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fpbench.stats.matching import Hits, Ints, check_owners
from fpbench.stats.tails import log_none

Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-12
"""Lets a tail that equals the rate in exact arithmetic meet it after rounding."""


class ScoreTable:
    """How N readings fit R users, as numbers that may be any; its questions are `Matching`'s.

    Args:
        scores: (N, R), more is better.
        owners: (N,) index of the user that each reading should show; None = of none.
        issued: U, users from the first on that have a copy; None = all.

    Raises:
        ValueError: an argument does not fit.
    """

    def __init__(
        self,
        scores: npt.ArrayLike,
        owners: npt.ArrayLike | None = None,
        issued: int | None = None,
    ) -> None:
        table = np.asarray(scores, dtype=np.float64)
        if table.ndim != 2 or not table.shape[1] or np.isnan(table).any():
            msg = f"scores: expected (N, R) without nan and R >= 1, got {table.shape}"
            raise ValueError(msg)
        self._table: Floats = table
        self.images, self.codes = table.shape
        self.issued = self.codes if issued is None else issued
        self.owners = None if owners is None else check_owners("scores", owners, *table.shape)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, R)."""
        return self.images, self.codes

    @property
    def own(self) -> Floats:
        """(N,) score of the owner."""
        if self.owners is None:
            raise ValueError("scores: expected readings with owners, got readings of nobody")
        return self.of(self.owners)

    @property
    def best(self) -> Floats:
        """(N,) largest score of anybody."""
        return np.asarray(self._table.max(axis=1))

    @property
    def other(self) -> Floats:
        """(N,) largest score of anybody but the owner; -inf where there is nobody."""
        return np.asarray(self._others.max(axis=1))

    @property
    def other_issued(self) -> Floats:
        """(N,) the same among those who have a copy."""
        return np.asarray(self._others[:, : self.issued].max(axis=1))

    @property
    def foreign(self) -> Ints:
        """(R,) readings that are not the owner's of each user."""
        owned = 0 if self.owners is None else np.bincount(self.owners, minlength=self.codes)
        return np.full(self.codes, self.images, dtype=np.int64) - owned

    def of(self, users: Ints) -> Floats:
        """(N,) score of each reading's user of an index of its own."""
        return np.asarray(self._table[np.arange(self.images), users])

    def hits(self, t: float) -> Hits:
        """Which scores reach t; the owner's are left out."""
        reached = self._others >= t
        return Hits(
            np.asarray(reached.sum(axis=1), dtype=np.int64),
            np.asarray(reached.sum(axis=0), dtype=np.int64),
        )

    @cached_property
    def _others(self) -> Floats:
        """(N, R) scores, the owner's put below all."""
        if self.owners is None:
            return self._table
        others = self._table.copy()
        others[np.arange(self.images), self.owners] = -np.inf
        return others


class Surprise(ScoreTable):
    """How N readings fit R codes, in natural logarithms.

    Args:
        log_tails: (N, R) in [-inf, 0], from `Code.log_tail`.
        owners: (N,) index of the code that each reading should show; None = of none.
        issued: U, codes from the first on that are issued ones; None = all.

    Raises:
        ValueError: an argument does not fit.
    """

    def __init__(
        self,
        log_tails: npt.ArrayLike,
        owners: npt.ArrayLike | None = None,
        issued: int | None = None,
    ) -> None:
        tails = np.asarray(log_tails, dtype=np.float64)
        if not (tails <= 0).all():
            worst = tails.max(initial=-math.inf)
            msg = f"surprise: expected log tails (N, R) in [-inf, 0], got {tails.shape}, {worst}"
            raise ValueError(msg)
        super().__init__(-tails, owners, issued)


def surprise_threshold(false_rate: float, candidates: int = 1) -> float:
    """-log p with 1 - (1 - p)^N = alpha: the surprise that any of N innocents reaches at that rate.

    Args:
        false_rate: alpha in (0, 1), over all candidates together (family-wise).
        candidates: N >= 1.

    Raises:
        ValueError: an argument is out of its range.
    """
    if not 0 < false_rate < 1 or candidates < 1:
        msg = (
            f"surprise_threshold: expected 0 < false_rate < 1 and candidates >= 1, got "
            f"{false_rate} and {candidates}"
        )
        raise ValueError(msg)
    return -math.log(-math.expm1(math.log1p(-false_rate) / candidates)) - _ROUNDING


def unsurpassed(surprise: npt.ArrayLike, distractors: int) -> Floats:
    """Probability (1 - e^-L)^D that none of D innocents outside the registry is as surprising as L.

    Exact where some code has that surprise, else from below.
    """
    return np.asarray(np.exp(log_none(-np.asarray(surprise, dtype=np.float64), distractors)))

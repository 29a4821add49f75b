"""A data set that need not be there: its facts are known, its samples where somebody has them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from fpbench.api import Card, Conditions, Dataset, MissingResource, NoParams, SampleInfo
from fpbench.plan import DataFacts


class Absent(Dataset[NoParams]):
    """What a bundle knows of the data set that its run was trained on.

    Args:
        facts: the plan's.
        real: the data set on this machine; None = it is out of reach.
        what: is missed where it is read all the same, and how it can be had.
    """

    name = "absent"
    version = "1"
    Params = NoParams
    card = Card("A data set elsewhere", "own", "Apache-2.0", "What a bundle knows of a data set.")

    def __init__(self, facts: DataFacts, real: Dataset[Any] | None, what: str) -> None:
        super().__init__(NoParams())
        self._facts = facts
        self._there = real
        self._what = what

    def info(self) -> SampleInfo:
        """As the plan has it."""
        return self._facts.info

    def digest(self) -> str:
        """As the plan has it."""
        return self._facts.digest

    def read(self, split: str, indices: np.ndarray) -> np.ndarray:
        """Samples of the data set itself.

        Raises:
            MissingResource: it is not there, or is another one.
        """
        return self._real.read(split, indices)

    def conditions(self, split: str, indices: np.ndarray) -> Conditions:
        """Those of the data set itself; see `read`."""
        return self._real.conditions(split, indices)

    @cached_property
    def _real(self) -> Dataset[Any]:
        got = "a bundle, which does not hold them"
        if self._there is not None:
            found = self._there.digest()
            if found == self._facts.digest:
                return self._there
            got = f"others, with the digest {found[:16]}…"
        raise MissingResource(f"bundle: expected {self._what}, got {got}")

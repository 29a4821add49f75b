"""The tables in which methods are ranked: by attribution, by detection, and readers of weights.

What is read of samples and what is read of weights are never ranked together, nor are methods that
tell users apart with those that do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fpbench.report.kinds import PRESENCE, WEIGHTS
from fpbench.report.tables import Board, MethodInfo

ATTRIBUTION = "attribution"
TIERS = ("processing", "samples", "copy", "training")


@dataclass(frozen=True)
class Table:
    """One of the tables.

    Attributes:
        name: in anchors.
        title: heading.
        words: as sentences name it.
        metric: whose number, variant "", is the rate of a method.
        tiers: that its score may have.
        right: what the rate counts, in a word.
        share: what the rate is called.
        rate: the same as a title.
        traced: what is done to an image, or a copy.
        tracing: what a method keeps or loses.
        holds: whether a method stands in it.
    """

    name: str
    title: str
    words: str
    metric: str
    tiers: tuple[str, ...]
    right: str
    share: str
    rate: str
    traced: str
    tracing: str
    holds: Callable[[MethodInfo], bool]

    @property
    def file(self) -> str:
        """Name of its files."""
        return "leaderboard" if self is BY_ATTRIBUTION else self.name


BY_ATTRIBUTION = Table(
    "attribution", "Attribution", "the table of attribution", ATTRIBUTION, TIERS,
    "right", "right-rate", "traced right", "traced", "tracing",
    lambda method: method.reads != WEIGHTS and method.gives != PRESENCE,
)  # fmt: skip
BY_DETECTION = Table(
    "detection", "Detection", "the table of detection", "detection", TIERS,
    "detected", "detection rate", "detected", "detected", "detection",
    lambda method: method.reads != WEIGHTS,
)  # fmt: skip
OF_WEIGHTS = Table(
    "weights", "Readers of weights", "the table of readers of weights", ATTRIBUTION,
    ("copy", "training"), "right", "right-rate", "traced right by weights", "traced", "tracing",
    lambda method: method.reads == WEIGHTS,
)  # fmt: skip
TABLES = (BY_ATTRIBUTION, BY_DETECTION, OF_WEIGHTS)


def home(method: MethodInfo) -> Table:
    """The table that says most of a method."""
    return next(table for table in TABLES if table.holds(method))


def tables_of(board: Board) -> tuple[Table, ...]:
    """Attribution, and the others where a method stands in no table before them."""
    homes = {home(method) for method in board.methods}
    return tuple(table for table in TABLES if table is BY_ATTRIBUTION or table in homes)

"""What an extractor is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from fpbench.api.errors import ContractError
from fpbench.api.types import State

if TYPE_CHECKING:
    from torch import Tensor

    from fpbench.api.generator import Generator

T = TypeVar("T")


@dataclass(frozen=True)
class Evidence:
    """What an extractor is shown; never the conditions, since a verifier has the file alone.

    Attributes:
        registry: what `Method.enrol` gave; empty where nobody is enrolled.
    """

    _samples: Tensor | None = None
    _copy: Generator | None = None
    registry: State = field(default_factory=dict)

    @property
    def samples(self) -> Tensor:
        """(N, ...) samples, exactly what a file could carry; images are (N, 3, H, W) uint8."""
        return _there(self._samples, "samples", "reads = Reads.SAMPLES")

    @property
    def copy(self) -> Generator:
        """The copy whose weights are read."""
        return _there(self._copy, "a copy", "reads = Reads.WEIGHTS")


def _there(value: T | None, what: str, where: str) -> T:
    if value is None:
        raise ContractError(
            f"evidence: expected {what} to be asked for by methods with {where} alone; set it, or "
            "ask for the other"
        )
    return value

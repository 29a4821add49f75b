"""Words of the interface: enumerations, small frozen records and tensor aliases.

Letters used in every docstring: N images, K bits, U users, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

State = dict[str, "Tensor"]
"""What a component learnt: named tensors, stored as safetensors."""


class Placement(StrEnum):
    """Where a fingerprint sits."""

    IN_MODEL = "in-model"
    POST_HOC = "post-hoc"
    SAMPLER = "sampler"
    PASSIVE = "passive"


class Access(StrEnum):
    """What an adversary holds."""

    IMAGES = "images"
    COPY = "copy"
    COPIES = "copies"
    CLEAN_IMAGES = "clean-images"
    PUBLIC_HOST = "public-host"
    TRAINER = "trainer"
    EMBEDDER = "embedder"
    TARGET = "target-images"
    TARGET_CODE = "target-code"


@dataclass(frozen=True)
class Card:
    """What the page says about a component.

    Attributes:
        title: name in prose.
        source: paper or origin, "own" if there is none.
        licence: licence of this implementation and of any data it carries.
        summary: one or two sentences.
        differs: where it departs from its source; empty if nowhere.
        bibtex: entry of the source, as people paste it; empty if there is none.
    """

    title: str
    source: str
    licence: str
    summary: str
    differs: str = ""
    bibtex: str = ""


@dataclass(frozen=True)
class Needs:
    """Resources a stage asks for; 0 means none, or no wish.

    Attributes:
        gpus: number of GPUs it cannot do without.
        memory_gib: host memory at its peak, GiB.
    """

    gpus: int = 0
    memory_gib: float = 0.0


@dataclass(frozen=True)
class Refusal:
    """A component's honest "this does not apply to me", printed on the board.

    Attributes:
        reason: one sentence.
    """

    reason: str


@dataclass(frozen=True)
class Strength:
    """The knob of an attack, in natural units.

    Attributes:
        name: its name, also the key in a suite, e.g. "quality".
        unit: what it is measured in.
        grid: default strengths, from weakest to strongest.
        low: smallest value allowed.
        high: largest value allowed.
        whole: True when only whole numbers make sense.
        odd: True when only odd whole numbers make sense.
        identity: the strength that changes nothing; None if there is none.
    """

    name: str
    unit: str
    grid: tuple[float, ...]
    low: float
    high: float
    whole: bool = False
    odd: bool = False
    identity: float | None = None

    @property
    def legal(self) -> str:
        """The values allowed, for messages: "whole numbers from 1 to 100"."""
        kind = "odd whole numbers" if self.odd else "whole numbers" if self.whole else "numbers"
        return f"{kind} from {self.low:g} to {self.high:g}"

    def allows(self, value: float) -> bool:
        """Whether `value` is within the range, and whole or odd where it must be."""
        if not self.low <= value <= self.high:  # also where it is not a number
            return False
        return (not (self.whole or self.odd) or value == int(value)) and (
            not self.odd or int(value) % 2 == 1
        )

    @property
    def rising(self) -> bool:
        """True when a larger number is a stronger attack."""
        return len(self.grid) < 2 or self.grid[-1] > self.grid[0]


@dataclass(frozen=True)
class ImageInfo:
    """What is known of a data set's images before any is read.

    Attributes:
        size: height and width in pixels.
        counts: number of images in each split.
    """

    size: int
    counts: dict[str, int]


class ImageStream(Protocol):
    """One split of a data set, read in any order."""

    @property
    def size(self) -> int:
        """Height and width, pixels."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def read(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """The images at `indices`: (N, 3, H, W) uint8 sRGB, channels-last memory, on the device."""
        ...


@dataclass(frozen=True)
class Evidence:
    """What an extractor is shown.

    Attributes:
        images: (N, 3, H, W) uint8, exactly what a file could carry.
    """

    images: Tensor

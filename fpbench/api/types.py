"""Words of the interface: enumerations, small frozen records and tensor aliases.

Letters used in every docstring: N images, K bits, U users, H and W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

State = dict[str, "Tensor"]
"""What a component learnt: named tensors, stored as safetensors."""
Conditions = Sequence[Any]
"""Captions or class numbers, one a sample; empty where a host takes none."""


class Reads(StrEnum):
    """What an extractor looks at."""

    SAMPLES = "samples"
    WEIGHTS = "weights"


class Gives(StrEnum):
    """What a reading is."""

    BITS = "bits"
    """(N, K) logits; above 0 reads as 1."""
    SCORES = "scores"
    """(N, U), column j that of the j-th enrolled user; above 0 the method itself says yes."""
    PRESENCE = "presence"
    """(N,), above 0 the method itself says "marked" or "generated"; there are no users."""


class Offer(StrEnum):
    """What not every host can do."""

    ENCODE = "encode"
    FINETUNE = "finetune"
    UNTRAINED = "untrained"
    GAUSSIAN = "gaussian"
    """`prior` is one standard normal tensor, and `encode` gives the same."""
    WEIGHTS = "weights"
    """The output step is a torch module that can be changed and differentiated."""
    CONVOLUTIONS = "convolutions"
    """... and has convolutions."""


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
    MARKED = "marked-images"
    """Images of other users' copies, none of whom is measured."""
    PUBLISHED = "published-network"
    """A network of other people that knows no method; what it is loaded from are parameters."""


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
class SampleInfo:
    """What is known of a data set's samples before any is read.

    Attributes:
        modality: "image", "audio"; the name of the modality they are of.
        shape: of one sample, (3, H, W) of an image.
        dtype: what a file could carry, "uint8" or "int16".
        counts: number of samples in each split.
        rate: samples of a sound in a second, hertz; None for images.
        conditions: what a sample may be asked for by: "", "classes" or "captions".
    """

    modality: str
    shape: tuple[int, ...]
    dtype: str
    counts: Mapping[str, int]
    rate: int | None = None
    conditions: str = ""

    @classmethod
    def of_images(cls, size: int, counts: Mapping[str, int], conditions: str = "") -> SampleInfo:
        """Of square images of `size` pixels."""
        return cls("image", (3, size, size), "uint8", dict(counts), conditions=conditions)

    @property
    def nbytes(self) -> int:
        """Of one sample in memory."""
        return math.prod(self.shape) * int(self.dtype.lstrip("abcdefghijklmnopqrstuvwxyz")) // 8

    @property
    def size(self) -> int:
        """Height and width of an image, pixels; length of a sound, samples."""
        return self.shape[-1]


class SampleStream(Protocol):
    """One split of a data set, or what a generator draws, in any order."""

    @property
    def info(self) -> SampleInfo:
        """What is known of them."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def read(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """The samples at `indices` as a file could carry them, on the device.

        Images: (N, 3, H, W) uint8 sRGB in channels-last memory.
        """
        ...

    def conditions(self, indices: Sequence[int] | np.ndarray) -> Conditions:
        """Captions or classes of the samples at `indices`; empty where there are none."""
        ...


@dataclass(frozen=True)
class User:
    """Who is issued a copy.

    Attributes:
        index: his number; registered users come first.
        code: (K,) bool; (0,) for a method without codes.
    """

    index: int
    code: Tensor


class Enrolled(Protocol):
    """A registered user as `Method.enrol` meets him; nothing is loaded or drawn unasked."""

    @property
    def user(self) -> User:
        """Who he is."""
        ...

    @property
    def issued(self) -> State:
        """What `Method.issue` gave for him."""
        ...

    def samples(self, count: int) -> Tensor:
        """(count, ...) samples of his copy, of latents that are never measured.

        Sample i is always the same.
        """
        ...

"""`toy-speech`: spoken digits synthesised on the fly; no file, no network, no person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fpbench.api import Card, Conditions, Dataset, Params, SampleInfo, digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FIRST = {"train": 0, "test": 10_000_000, "reference": 20_000_000}
Count = Annotated[int, Field(ge=1, le=10_000_000)]


class ToySpeechParams(Params):
    """Rate, length and counts.

    Attributes:
        rate: samples in a second, hertz.
        length: of a clip, samples.
        train: clips to train on.
        test: clips for negatives and adversaries.
        reference: clips that distributions are compared with.
    """

    rate: Annotated[int, Field(ge=4_000, le=48_000)] = 8_000
    length: Annotated[int, Field(ge=512, le=480_000)] = 4_096
    train: Count = 10_000
    test: Count = 2_000
    reference: Count = 2_000


class ToySpeech(Dataset[ToySpeechParams]):
    """Synthetic digits by six voices; clip i of a split follows from it, i, rate and length.

    Classes are the digits.
    """

    name = "toy-speech"
    version = "1"
    drawn = True
    Params = ToySpeechParams
    card = Card(
        title="Toy speech",
        source="own; synthesised by fpbench",
        licence="Apache-2.0",
        summary="The digits zero to nine, spoken by formants with six voices at many pitches. They "
        "show that a pipeline works; they say little about recordings.",
    )

    def info(self) -> SampleInfo:
        """Rate, length and counts."""
        p = self.params
        counts = {"train": p.train, "test": p.test, "reference": p.reference}
        return SampleInfo("audio", (1, p.length), "int16", counts, p.rate, "classes")

    def digest(self) -> str:
        """The sounds follow from source and parameters, which keys hold already."""
        return digest({"toy-speech": self.version, **self.params.model_dump()})

    def read(self, split: str, indices: NDArray[np.int64]) -> NDArray[np.int16]:
        """(N, 1, T) int16."""
        from fpbench.builtin.toy_speech.speech import speak

        return speak(_places(split, indices), self.params.rate, self.params.length)

    def conditions(self, split: str, indices: NDArray[np.int64]) -> Conditions:
        """The digits that are said."""
        from fpbench.builtin.toy_speech.speech import cast

        return [int(word) for word in cast(_places(split, indices)).words]


def _places(split: str, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    import numpy as np

    return np.asarray(indices, dtype=np.int64) + _FIRST[split]

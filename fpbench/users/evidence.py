"""What a trace found, as a report that anybody with the registry can compute again."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from fpbench.api import Params, StoreError
from fpbench.users.tracing import Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_BYTES = 2**28


class TracedImage(Params):
    """An image that was read.

    Attributes:
        name: of its file, without folders.
        sha256: of the file's bytes.
    """

    name: str
    sha256: str


class Report(Params):
    """Evidence of a trace.

    Attributes:
        format: of this file.
        made_at: UTC.
        fpbench: version.
        registry: where it lay, the name alone.
        head: of the registry's log when it was searched.
        codes: R, that were ever issued by then.
        model: in the registry.
        facts: what the registry knows of the model.
        false_rate: α.
        rule: who is accused.
        pooled: whether all images are of one source and were read together.
        images: in the order of the readings.
        logits: (N, K) float32, little-endian, in base64; of scores (N, R).
        negatives: of scores, source -> (n, R) what was read in images without a mark, alike: every
            other one calibrates.
        tried: of scores, source -> how many readings of the other ones are accused, of how many.
        verdicts: one a reading, with users.
    """

    format: Literal[1] = 1
    made_at: str
    fpbench: str
    registry: str
    head: str
    codes: Annotated[int, Field(ge=0)]
    model: str
    facts: dict[str, Any]
    false_rate: Annotated[float, Field(gt=0, lt=1)]
    rule: Rule
    pooled: bool
    images: Annotated[tuple[TracedImage, ...], Field(min_length=1)]
    logits: str
    negatives: dict[str, str] = Field(default_factory=dict)
    tried: dict[str, tuple[int, int]] = Field(default_factory=dict)
    verdicts: tuple[dict[str, Any], ...]

    @property
    def readings(self) -> NDArray[np.float32]:
        """(N, K) what was read in each image.

        Raises:
            StoreError: it is not that.
        """
        found = self._floats(self.logits, "logits")
        if len(found) != len(self.images):
            raise StoreError(
                f"report: expected {len(self.images)} readings, got {len(found)}; it was changed"
            )
        return found

    @property
    def scores_of_negatives(self) -> dict[str, NDArray[np.float32]]:
        """`negatives` as arrays.

        Raises:
            StoreError: they are none.
        """
        return {source: self._floats(text, source) for source, text in self.negatives.items()}

    def _floats(self, text: str, what: str) -> NDArray[np.float32]:
        """(n, K) or (n, R) of base64."""
        columns = int(self.facts.get("bits", 0)) or self.codes
        if not columns and not text:
            return np.zeros((len(self.images), 0), np.float32)
        try:
            raw = base64.b64decode(text, validate=True)
            return np.frombuffer(raw, "<f4").reshape(-1, columns)
        except ValueError as error:
            raise StoreError(
                f"report: expected float32 readings of {columns} columns as {what}, got {error}; "
                "it was changed"
            ) from None


def text_of(readings: NDArray[np.float32]) -> str:
    """Readings as a report holds them."""
    return base64.b64encode(readings.astype("<f4").tobytes()).decode()


def read_report(path: Path) -> Report:
    """A report in a file.

    Raises:
        StoreError: it is none.
    """
    got = "none"
    if path.is_file() and path.stat().st_size <= _MOST_BYTES:
        try:
            return Report.model_validate_json(path.read_bytes())
        except ValidationError as error:
            fault = error.errors()[0]
            got = f"{'.'.join(map(str, fault['loc'])) or 'a text'}: {fault['msg']}"
    raise StoreError(f"{path}: expected a report of `fpbench trace`, got {got}", path=str(path))

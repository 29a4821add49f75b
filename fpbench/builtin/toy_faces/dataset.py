"""`toy-faces`: cartoon faces drawn on the fly; no file, no network, no person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fpbench.api import Card, Dataset, Params, SampleInfo, digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FIRST = {"train": 0, "test": 10_000_000, "reference": 20_000_000}
Count = Annotated[int, Field(ge=1, le=10_000_000)]


class ToyFacesParams(Params):
    """Size and counts.

    Attributes:
        size: height and width, pixels.
        train: images to train on.
        test: images for negatives and adversaries.
        reference: images that distributions are compared with.
    """

    size: Literal[32, 64] = 32
    train: Count = 10_000
    test: Count = 2_000
    reference: Count = 2_000


class ToyFaces(Dataset[ToyFacesParams]):
    """Parametric cartoon faces; image i of a split is a function of the split, i and the size."""

    name = "toy-faces"
    version = "1"
    drawn = True
    Params = ToyFacesParams
    card = Card(
        title="Toy faces",
        source="own; drawn by fpbench",
        licence="Apache-2.0",
        summary="Cartoon faces drawn from about 45 random parameters. They show that a pipeline "
        "works; they say little about photographs.",
    )

    def info(self) -> SampleInfo:
        """Size and counts."""
        p = self.params
        counts = {"train": p.train, "test": p.test, "reference": p.reference}
        return SampleInfo.of_images(p.size, counts)

    def digest(self) -> str:
        """The images follow from source and parameters, which keys hold already."""
        return digest({"toy-faces": self.version, **self.params.model_dump()})

    def read(self, split: str, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(N, H, W, 3) uint8."""
        import numpy as np

        from fpbench.builtin.toy_faces.faces import draw

        return draw(np.asarray(indices, dtype=np.int64) + _FIRST[split], self.params.size)

"""The host `photographs`: registration and card."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from fpbench.api import (
    Card,
    Context,
    Generator,
    Host,
    Offer,
    Params,
    SampleStream,
    State,
    hookimpl,
)

_PIECE = 64  # read at a time


class PhotographsParams(Params):
    """How many are kept.

    Attributes:
        pictures: most that are kept of the training split, which methods learn from beside it, and
            of the test split, which are marked and measured.
    """

    pictures: Annotated[int, Field(ge=2)] = 1000


class Photographs(Host[PhotographsParams]):
    """Shows test images of the data set, so that post-hoc marks meet photographs."""

    name = "photographs"
    version = "1"
    Params = PhotographsParams
    pictures = True
    card = Card(
        "Photographs",
        "own",
        "Apache-2.0",
        "No generator: the images that are marked are test images of the data set, which are "
        "neither negatives nor anything that an adversary holds. Users in a row have pictures in a "
        "row, each user different ones; with fewer pictures than users times images, a picture is "
        "marked for several users.",
    )

    def __init__(self, params: PhotographsParams) -> None:
        super().__init__(params)
        self.offers: frozenset[Offer] = frozenset()

    def fit(self, images: SampleStream, ctx: Context) -> State:
        """Keeps the first of a split; nothing is trained."""
        import torch

        del ctx
        count = min(len(images), self.params.pictures)
        pieces = [
            images.read(range(first, min(first + _PIECE, count)))
            for first in range(0, count, _PIECE)
        ]
        return {"pictures": torch.cat(pieces).contiguous()}

    def assemble(self, state: State, ctx: Context) -> Generator:
        """One step, "pictures": their numbers to themselves."""
        from fpbench.nn.pictures import PictureGenerator

        return PictureGenerator.of(state["pictures"], ctx.device)

    def unpack(self, packed: State, ctx: Context) -> Generator:
        """See `Host.unpack`; a file holds the pictures themselves."""
        from fpbench.api.packing import alone
        from fpbench.nn.pictures import PictureGenerator

        weights = alone(f"host {self.name}: unpack", packed, "pictures")
        return PictureGenerator.of(weights["images"], ctx.device)


@hookimpl
def fpbench_hosts() -> list[type[Host[Any]]]:
    """The host."""
    return [Photographs]

"""The host `originals`: images that were marked elsewhere, as they were before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fpbench.api import (
    Card,
    Context,
    FpbenchError,
    Generator,
    Host,
    Offer,
    Params,
    SampleInfo,
    SampleStream,
    State,
)
from fpbench.api.params import Local
from fpbench.builtin.self_marked.files import listed, picture

if TYPE_CHECKING:
    from torch import Tensor


class OriginalsParams(Params):
    """Where they are.

    Attributes:
        path: folder (searched through) or `.zip` file of images of the data set's size.
    """

    path: Annotated[str, Field(min_length=1), Local()]


class Originals(Host[OriginalsParams]):
    """Shows the images of a folder in the order of their names."""

    name = "originals"
    version = "1"
    Params = OriginalsParams
    pictures = True
    card = Card(
        "Originals",
        "given by the user",
        "that of the images",
        "No generator: images that were marked elsewhere, as they were before, in the order of "
        "their names. User u has the images from u times the images of a user on.",
    )

    def __init__(self, params: OriginalsParams) -> None:
        super().__init__(params)
        self.offers: frozenset[Offer] = frozenset()

    def objection(self, images: SampleInfo) -> str:
        """Why the images are not what the suite asks for; a look at the first of them."""
        try:
            files = listed(f"host {self.name}", self.params.path)
            picture(f"host {self.name}", self.params.path, next(iter(files.values())), images.size)
        except FpbenchError as error:
            return str(error)
        return ""

    def fit(self, images: SampleStream, ctx: Context) -> State:
        """Other photographs, those of the training split, for methods that learn."""
        del ctx
        return {"pictures": images.read(range(min(len(images), 1000))).contiguous()}

    def shown(self, images: SampleStream, ctx: Context) -> State:
        """The originals, and their names as JSON in UTF-8."""
        import numpy as np
        import torch

        files, who = listed(f"host {self.name}", self.params.path), f"host {self.name}"
        pixels = [picture(who, self.params.path, file, images.info.size) for file in files.values()]
        shown = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
        names = json.dumps(list(files)).encode()
        return {
            "pictures": shown.to(ctx.device),
            "names": torch.tensor(list(names), dtype=torch.uint8, device=ctx.device),
        }

    def assemble(self, state: State, ctx: Context) -> Generator:
        """One step, "pictures": their numbers to themselves."""
        from fpbench.nn.pictures import PictureGenerator

        return PictureGenerator.of(state["pictures"], ctx.device)


def names_of(state: State) -> list[str]:
    """The names of the pictures, of the state that is shown."""
    names: Tensor = state["names"]
    found: list[str] = json.loads(bytes(names.tolist()))
    return found

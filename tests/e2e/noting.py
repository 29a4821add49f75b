"""An attack with draws of its own that keeps what it makes, so that tests can compare it."""

import os
from pathlib import Path

import numpy as np
import torch

from fpbench.api import Access, Card, NoParams, SampleAttack, Strength, hookimpl


class Noting(SampleAttack[NoParams]):
    name, version, Params = "noting", "1", NoParams
    card = Card("Noting", "own", "Apache-2.0", "For tests.")
    family = "noise"
    access = frozenset({Access.IMAGES})
    strength = Strength("levels", "of 255", (8,), 0, 255, identity=0)

    def apply(self, images, indices, strength, ctx):
        made = []
        for image, index in zip(images, indices, strict=True):
            noise = ctx.image_rng(index).uniform(-strength, strength, image.shape)
            changed = image.double() + torch.from_numpy(noise)
            made.append(changed.round().clamp(0, 255).to(torch.uint8))
        found = torch.stack(made)
        folder = Path(os.environ["FPBENCH_NOTED"])
        name = f"{len(list(folder.iterdir())):06}"
        np.savez(folder / name, before=images.numpy(), after=found.numpy())
        return found


@hookimpl
def fpbench_attacks():
    return [Noting]

"""Attacks that learn before they meet a copy; each counts in a file how often."""

import os
from pathlib import Path

from fpbench.api import (
    Access,
    Card,
    ContractError,
    ModelAttack,
    NoParams,
    SampleAttack,
    Strength,
    hookimpl,
)

CARD = Card("Learner", "own", "Apache-2.0", "For tests.")


def learn(name, surface):
    with Path(os.environ["FPBENCH_LEARNT"]).open("a") as file:
        file.write(f"{name}\n")
    return {"mean": surface.clean_images.float().mean().reshape(1)}


class Grey(SampleAttack[NoParams]):
    """Draws images to the mean of the clean ones."""

    name, version, Params, card = "grey", "1", NoParams, CARD
    family = "regeneration"
    access = frozenset({Access.IMAGES, Access.CLEAN_IMAGES})
    strength = Strength("share", "of the way", (0.5,), 0, 1, identity=0)

    def fit(self, surface, ctx):
        return learn(self.name, surface)

    def apply(self, images, indices, strength, ctx):
        mixed = images * (1 - strength) + ctx.fitted["mean"] * strength
        return mixed.round().to(images.dtype)


class Greedy(Grey):
    """Learns on while it attacks."""

    name = "greedy"

    def apply(self, images, indices, strength, ctx):
        ctx.fitted["mean"].add_(1)
        return super().apply(images, indices, strength, ctx)


class Dying(Grey):
    """Ends the process that it learns in."""

    name = "dying"

    def fit(self, surface, ctx):
        os._exit(5)


class Prying(ModelAttack[NoParams]):
    """Asks for a copy before there is one."""

    name, version, Params, card = "prying", "1", NoParams, CARD
    family = "other"
    access = frozenset({Access.COPY, Access.CLEAN_IMAGES})

    def fit(self, surface, ctx):
        try:
            return {"nothing": surface.copy.prior([0])}
        except ContractError as error:
            raise RuntimeError(f"as it should: {error}") from None

    def apply(self, surface, strengths, ctx):
        yield None, surface.copy


@hookimpl
def fpbench_attacks():
    return [Dying, Greedy, Grey, Prying]

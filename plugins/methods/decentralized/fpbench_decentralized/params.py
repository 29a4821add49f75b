"""Parameters of the method `decentralized`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fpbench.api import Params

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class DecentralizedParams(Params):
    """Sizes and training; the defaults issue a copy in some 15 s of one core at 32 px.

    Of the paper: key_learning_rate and learning_rate 1e-3, batch 64 at 64 px, delta 1e-2, gamma
    growth 1.1, whole epochs instead of steps; with robust training likeness_weight 10 to 10,000.

    Attributes:
        keys: how many the owner draws; each user needs one.
        samples: real images, and as many of the host, that keys are learnt and judged on; at most
            as many as there are to train on.
        key_steps: training steps of a key.
        key_batch: images of such a step, real ones and the host's.
        key_learning_rate: Adam's, for keys.
        key_scale: deviation of a key's values before it is learnt; the larger, the less it leans on
            what images have in common, and the fainter its mark.
        steps: training steps of a copy in its first round, or in all with robust training.
        round_steps: of each further round.
        rounds: how often at most a copy is trained, each time with a stronger mark.
        growth: of the mark's strength between two rounds.
        delta: rounds end at a distinguishability of 1 - delta.
        judged: images of the copy that its distinguishability is measured on.
        batch: images of a step.
        learning_rate: Adam's, for copies.
        robust: what copies learn to survive: "none", "blur", "crop", "noise", "jpeg" or
            "combination"; with any of them the mark's strength is learnt instead of set.
        likeness_weight: with robust training, of the squared difference to the host's image.
    """

    keys: Count = 16
    samples: Count = 1000
    key_steps: Count = 200
    key_batch: Annotated[int, Field(ge=2)] = 128
    key_learning_rate: Rate = 1e-3
    key_scale: Rate = 0.1
    steps: Count = 60
    round_steps: Count = 20
    rounds: Count = 10
    growth: Annotated[float, Field(gt=1)] = 1.1
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.01
    judged: Count = 256
    batch: Annotated[int, Field(ge=2)] = 16
    learning_rate: Rate = 5e-3
    robust: Literal["none", "blur", "crop", "noise", "jpeg", "combination"] = "none"
    likeness_weight: Annotated[float, Field(ge=0)] = 100.0

"""Parameters of the method `stable-signature`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fpbench.api import Params

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class StableSignatureParams(Params):
    """Sizes and trainings; at 32 px the defaults read 32 bits at 28 dB.

    On one core the extractor takes a minute, and each copy 4 s.

    Of the paper, at 256 px: bits 48, channels 64, depth 8, embedder_depth 4, patch 1, places 1, 300
    epochs; tuning_steps 100, tuning_batch 4, tuning_learning_rate 5e-4, warmup 20.

    Attributes:
        bits: length of a code, K.
        channels: channels of embedder and extractor.
        depth: convolutions of the extractor.
        embedder_depth: convolutions of the embedder before the code joins the image.
        patch: side of the blocks of pixels that are channels of both networks.
        places: side of the grid of places over which the embedder spreads a code, and which the
            extractor tells apart; 1 = the same everywhere, and averaged over all.
        strength: largest change that the embedder makes to a value, on images in [-1, 1].
        batch: images of a step of the extractor's training.
        steps: training steps of the extractor.
        learning_rate: Adam's, for embedder and extractor.
        whitened: clean images, at most, on which the extractor's outputs are whitened.
        tuning_steps: of each user's copy.
        tuning_batch: images of such a step.
        tuning_learning_rate: AdamW's, for the weights of the host's output step.
        warmup: steps until the copy's learning rate is reached.
        likeness_weight: of the squared difference to the host's image.
    """

    bits: Annotated[int, Field(ge=1, le=256)] = 32
    channels: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    depth: Count = 4
    embedder_depth: Count = 2
    patch: Count = 2
    places: Count = 8
    strength: Annotated[float, Field(gt=0, le=2)] = 0.2
    batch: Annotated[int, Field(ge=4)] = 32
    steps: Count = 600
    learning_rate: Rate = 2e-3
    whitened: Annotated[int, Field(ge=2)] = 4000
    tuning_steps: Count = 60
    tuning_batch: Count = 4
    tuning_learning_rate: Rate = 2e-3
    warmup: Count = 20
    likeness_weight: Annotated[float, Field(ge=0)] = 30.0

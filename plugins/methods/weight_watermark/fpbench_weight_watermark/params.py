"""Parameters of the method `weight-watermark`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fpbench.api import Params

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class WeightWatermarkParams(Params):
    """The key, and the training of each user: the defaults take 5 s and keep images at 40 dB.

    Attributes:
        bits: length of a code, K; fewer than the numbers of a mean kernel, M.
        key: rows of the secret matrix (K, M): "random" standard normal, "direct" one 1, "diff" one
            1 and one -1 (then 2 K may be no more than M). The latter two leave smaller margins.
        layer: the convolution that carries the code, by its name within the host's output step;
            empty = the one with the most inputs, of several the last.
        weight: λ, of the cross-entropies, summed over bits.
        batch: latents per step.
        steps: training steps.
        learning_rate: Adam's, in units of the kernel's root mean square.
    """

    bits: Annotated[int, Field(ge=1, le=2048)] = 64
    key: Literal["random", "direct", "diff"] = "random"
    layer: str = ""
    weight: Rate = 0.01
    batch: Count = 16
    steps: Count = 100
    learning_rate: Rate = 0.02

"""Noise that is independent from pixel to pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fpbench.api import Card, Context, NoParams, Strength
from fpbench_distortion.base import Distortion
from fpbench_distortion.operators import operators

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class GaussianNoise(Distortion[NoParams]):
    """Independent Gaussian noise on every pixel and channel, clipped to 8 bits."""

    name = "gaussian-noise"
    version = "2"
    Params = NoParams
    family = "noise"
    strength = Strength("sigma", "share of the range", (0.02, 0.05, 0.1), 0, 1, identity=0)
    card = Card(
        "Gaussian noise",
        "standard",
        "Apache-2.0",
        "Adds white noise; σ 1 is the full range.",
        "Noise has 65,536 equally likely values, the largest 4.3 σ; the image has 256.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is σ on images in [0, 1]."""
        from fpbench_distortion.weights import normal

        shape = (*images.shape[2:], 3)

        def draw(number: int) -> NDArray[np.float32]:
            return normal(ctx.image_rng(indices[number]), shape)

        return operators(images).add_noise(images, draw, 255 * strength)


class SaltPepper(Distortion[NoParams]):
    """Pixels that turn black or white, all channels at once, half of them each."""

    name = "salt-pepper"
    version = "1"
    Params = NoParams
    family = "noise"
    strength = Strength("share", "of the pixels", (0.01, 0.03, 0.1), 0, 1, identity=0)
    card = Card(
        "Salt and pepper",
        "standard (Gonzalez and Woods, Digital Image Processing)",
        "Apache-2.0",
        "Turns a share of the pixels black or white, each with equal chance.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the expected share of pixels that are hit, 0 to 1."""
        import numpy as np

        height, width = images.shape[2:]

        def draw(number: int) -> NDArray[np.float32]:
            return ctx.image_rng(indices[number]).random((height, width), dtype=np.float32)

        return operators(images).salt_pepper(images, draw, strength)

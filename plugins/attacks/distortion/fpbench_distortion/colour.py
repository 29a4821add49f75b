"""Attacks on light and colour. All work on sRGB values as stored, without linearising."""

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


class Brightness(Distortion[NoParams]):
    """All values times a factor."""

    name = "brightness"
    version = "1"
    Params = NoParams
    family = "colour"
    strength = Strength("factor", "", (1.2, 1.5, 2), 0, 10, identity=1)
    card = Card(
        "Brightness",
        "WAVES (An et al. 2024), factor 1 to 2, as Pillow's ImageEnhance",
        "Apache-2.0",
        "Multiplies all values; below 1 darkens.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the factor."""
        del indices, ctx
        return operators(images).look_up(images, _table(strength * _values()))


class Contrast(Distortion[NoParams]):
    """Distances from the image's mean luma times a factor."""

    name = "contrast"
    version = "1"
    Params = NoParams
    family = "colour"
    strength = Strength("factor", "", (1.2, 1.5, 2), 0, 10, identity=1)
    card = Card(
        "Contrast",
        "WAVES (An et al. 2024), factor 1 to 2, as Pillow's ImageEnhance",
        "Apache-2.0",
        "Stretches values about the mean of the image's luma (ITU-R BT.601), rounded.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the factor; below 1 flattens."""
        del indices, ctx
        import numpy as np

        mean = np.floor(operators(images).mean_luma(images) + 0.5).astype(np.uint8)
        return operators(images).spread(images, mean, strength)


class Saturation(Distortion[NoParams]):
    """Distances from each pixel's luma times a factor."""

    name = "saturation"
    version = "1"
    Params = NoParams
    family = "colour"
    strength = Strength("factor", "", (1.5, 2, 3), 0, 10, identity=1)
    card = Card(
        "Saturation",
        "as Pillow's ImageEnhance.Color; OmniSealBench",
        "Apache-2.0",
        "Moves colours away from the pixel's luma (ITU-R BT.601, 8 bits); 0 leaves grey.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the factor; below 1 pales."""
        del indices, ctx
        return operators(images).saturate(images, strength)


class Hue(Distortion[NoParams]):
    """The hue in HSV turned, one way or the other."""

    name = "hue"
    version = "1"
    Params = NoParams
    family = "colour"
    strength = Strength("shift", "turns", (0.02, 0.05, 0.1), 0, 0.5, identity=0)
    card = Card(
        "Hue",
        "HSV of Smith 1978; OmniSealBench lists up to ±0.4",
        "Apache-2.0",
        "Turns the hue by a part of the circle, up or down with equal chance; computed in float.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the shift in turns, 0 to 0.5."""
        import numpy as np

        up = ctx.image_uniforms(indices, 1)[:, 0] < 0.5
        return operators(images).turn_hue(images, np.where(up, strength, -strength))


class Gamma(Distortion[NoParams]):
    """A power of the value, 255 (x / 255)^γ."""

    name = "gamma"
    version = "1"
    Params = NoParams
    family = "colour"
    strength = Strength("gamma", "", (1.2, 1.5, 2), 0.1, 10, identity=1)
    card = Card(
        "Gamma",
        "standard (Gonzalez and Woods, Digital Image Processing)",
        "Apache-2.0",
        "Raises values in [0, 1] to a power; above 1 darkens.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the exponent."""
        del indices, ctx
        return operators(images).look_up(images, _table(255 * (_values() / 255) ** strength))


class Relight(Distortion[NoParams]):
    """Each channel times a random factor of its own: light of another colour."""

    name = "relight"
    version = "1"
    Params = NoParams
    family = "colour"
    strength = Strength("change", "share of the light", (0.1, 0.2, 0.4), 0, 1, identity=0)
    card = Card(
        "Relight",
        "Yu et al. 2022, robustness study (relighting)",
        "Apache-2.0",
        "Multiplies each channel by 1 + change × u, u uniform in [-1, 1) per image and channel.",
        differs="The paper's range could not be read; the grid is fpbench's own.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the largest change of a channel, as a share."""
        light = 1 + strength * (2 * ctx.image_uniforms(indices, 3) - 1)
        return operators(images).tint(images, light)


class Posterise(Distortion[NoParams]):
    """The highest bits of each value."""

    name = "posterise"
    version = "1"
    Params = NoParams
    family = "colour"
    strength = Strength("bits", "bits kept", (5, 4, 3), 1, 8, whole=True, identity=8)
    card = Card(
        "Posterise",
        "as Pillow's ImageOps.posterize",
        "Apache-2.0",
        "Clears the lowest bits of each value.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the number of bits kept, 1 to 8."""
        del indices, ctx
        kept: Tensor = images & (256 - 2 ** (8 - int(strength)))
        return kept


def _values() -> NDArray[np.float64]:
    import numpy as np

    return np.arange(256.0)


def _table(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    import numpy as np

    return np.clip(np.rint(values), 0, 255).astype(np.uint8)

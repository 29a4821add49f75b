"""Attacks made of several others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fpbench.api import Card, Context, NoParams, Params, SampleAttack, Strength
from fpbench_distortion.base import Distortion
from fpbench_distortion.colour import Brightness, Relight
from fpbench_distortion.compression import Jpeg
from fpbench_distortion.filtering import GaussianBlur, Resize, Sharpen
from fpbench_distortion.geometric import CropResize, Rotation
from fpbench_distortion.noise import GaussianNoise
from fpbench_distortion.occlusion import Erase

if TYPE_CHECKING:
    from torch import Tensor

Parts = tuple[tuple[type[SampleAttack[Any]], float, float], ...]
"""In order: the attack, where it starts, its strength at level 1."""

_SEVEN: Parts = (
    (CropResize, 1, 0.8),
    (Rotation, 0, 20),
    (GaussianBlur, 0, 1.5),
    (Brightness, 1, 1.5),
    (GaussianNoise, 0, 0.1),
    (Erase, 0, 0.2),
    (Jpeg, 100, 50),
)


def _five(side: int) -> Parts:
    """What immunised training of Yu et al. draws from, in its order, on images of this side."""
    return (
        (CropResize, 1, 0.5),
        (GaussianNoise, 0, 0.2),
        (GaussianBlur, 0, side / 32),
        (Jpeg, 100, 30),
        (Relight, 0, 0.5),
    )


class CombinationParams(Params):
    """Which attacks are in the row.

    Attributes:
        parts: "seven", WOUAF's; or "five", those that `scalable-gan` is trained on where it is
            immunised against its combination, up to the most that training draws.
    """

    parts: Literal["seven", "five"] = "seven"


class Combination(Distortion[CombinationParams]):
    """Several attacks in a row, each on half of the images, chosen image by image."""

    name = "combination"
    version = "2"
    Params = CombinationParams
    family = "combination"
    geometric = True
    strength = Strength("level", "share of full strength", (0.25, 0.5, 1), 0, 1, identity=0)
    card = Card(
        "Combination",
        "Yu et al. 2022 (each with probability 0.5) and WOUAF (Kim et al. 2024; parts, order)",
        "Apache-2.0",
        "Crop 0.8, rotation 20°, blur σ 1.5, brightness 1.5, noise σ 0.1, erased area 0.2 and JPEG "
        '50 at level 1, less of each below; each with probability 0.5. With parts = "five": crop '
        "0.5, noise σ 0.2, blur σ 1/32 of the side, JPEG 30, relight 0.5.",
        differs="Neither paper's ranges and probability at once; the strengths are fpbench's own.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is how far each part goes from nothing (JPEG: quality 100) to its full."""
        import torch

        parts = _SEVEN if self.params.parts == "seven" else _five(images.shape[-1])
        taken = torch.from_numpy(ctx.image_uniforms(indices, len(parts)) < 0.5)
        pixels = images.permute(0, 2, 3, 1).clone()
        for (part, start, full), hit in zip(parts, taken.T, strict=True):
            rows = hit.nonzero()[:, 0]
            each = start + strength * (full - start)
            if part.strength is not None and part.strength.whole:
                each = round(each)
            changed = part(part.Params()).apply(
                pixels[rows.to(pixels.device)].permute(0, 3, 1, 2),
                [indices[row] for row in rows.tolist()],
                each,
                ctx.branch(part.name),
            )
            pixels[rows.to(pixels.device)] = changed.permute(0, 2, 3, 1)
        return pixels.permute(0, 3, 1, 2)


class SocialMediaParams(Params):
    """What a platform does beside compressing.

    Attributes:
        scale: to which it makes the image smaller, a share of the side; it is shown at full size.
        amount: of sharpening at the end.
    """

    scale: Annotated[float, Field(ge=0.05, le=1)] = 0.7
    amount: Annotated[float, Field(ge=0, le=10)] = 0.5


class SocialMedia(Distortion[SocialMediaParams]):
    """Resize, JPEG (4:2:0) and sharpening: the way through an upload."""

    name = "social-media"
    version = "1"
    Params = SocialMediaParams
    family = "combination"
    strength = Strength("quality", "of the JPEG", (85, 70, 50), 1, 100, whole=True)
    card = Card(
        "Social media",
        "own: what platforms are known to do, in that order",
        "Apache-2.0",
        "Loses resolution, is compressed as JPEG and sharpened.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the quality of the JPEG, 1 to 100."""
        images = Resize(NoParams()).apply(images, indices, self.params.scale, ctx)
        images = Jpeg(Jpeg.Params()).apply(images, indices, strength, ctx)
        return Sharpen(NoParams()).apply(images, indices, self.params.amount, ctx)

"""Image distortions. The draws of an image belong to its index and are shared by all strengths."""

from __future__ import annotations

from typing import Any

from fpbench.api import Attack, hookimpl
from fpbench_distortion.colour import (
    Brightness,
    Contrast,
    Gamma,
    Hue,
    Posterise,
    Relight,
    Saturation,
)
from fpbench_distortion.composite import Combination, SocialMedia
from fpbench_distortion.compression import Jpeg, Webp
from fpbench_distortion.filtering import GaussianBlur, MedianBlur, Resize, Sharpen
from fpbench_distortion.geometric import CentreCrop, CropResize, Flip, Perspective, Rotation
from fpbench_distortion.noise import GaussianNoise, SaltPepper
from fpbench_distortion.occlusion import Erase, Overlay


@hookimpl
def fpbench_attacks() -> list[type[Attack[Any]]]:
    """Image attacks, by family."""
    return [
        Jpeg,
        Webp,
        GaussianNoise,
        SaltPepper,
        GaussianBlur,
        MedianBlur,
        Sharpen,
        Resize,
        CropResize,
        CentreCrop,
        Rotation,
        Flip,
        Perspective,
        Brightness,
        Contrast,
        Saturation,
        Hue,
        Gamma,
        Relight,
        Posterise,
        Erase,
        Overlay,
        Combination,
        SocialMedia,
    ]

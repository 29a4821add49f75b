"""Image distortions. 8-bit HWC arrays end to end; the draws of an image belong to its index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from fpbench.api import Attack, Card, Context, ImageAttack, Params, Strength, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Image = NDArray[np.uint8]


class JpegParams(Params):
    """How the codec is set.

    Attributes:
        subsampling: of the colour planes.
    """

    subsampling: Literal["420", "444"] = "420"


class Jpeg(ImageAttack[JpegParams]):
    """Encode and decode with a real JPEG codec (libjpeg-turbo through OpenCV)."""

    name = "jpeg"
    version = "1"
    Params = JpegParams
    family = "compression"
    strength = Strength("quality", "", (90, 70, 50), low=1, high=100, whole=True)
    card = Card(
        "JPEG", "ISO/IEC 10918; libjpeg quality scale", "Apache-2.0", "Saves as JPEG and loads it."
    )

    def apply(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is libjpeg's quality, 1 to 100."""
        del indices, ctx
        import cv2

        sampling = {
            "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
            "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        }[self.params.subsampling]
        options = [
            cv2.IMWRITE_JPEG_QUALITY,
            int(strength),
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            sampling,
        ]

        def one(image: Image, number: int) -> Any:
            del number
            ok, data = cv2.imencode(".jpg", image[:, :, ::-1], options)  # OpenCV's order is BGR
            if not ok:
                raise RuntimeError(f"jpeg: OpenCV could not encode at quality {strength:g}")
            decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
            assert decoded is not None  # it has just been encoded
            return decoded[:, :, ::-1]

        return _each(images, one)


class NoParams(Params):
    """An attack without parameters beside its strength."""


class GaussianNoise(ImageAttack[NoParams]):
    """Independent Gaussian noise on every pixel and channel, clipped to 8 bits."""

    name = "gaussian-noise"
    version = "1"
    Params = NoParams
    family = "noise"
    strength = Strength("sigma", "share of the range", (0.02, 0.05, 0.1), 0, 1, identity=0)
    card = Card(
        "Gaussian noise", "standard", "Apache-2.0", "Adds white noise; σ 1 is the full range."
    )

    def apply(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is σ on images in [0, 1]."""
        import numpy as np

        def one(image: Image, number: int) -> Any:
            rng = ctx.image_rng(indices[number])
            noise = rng.standard_normal(image.shape, dtype=np.float32)
            changed = image + np.float32(255 * strength) * noise
            return np.clip(np.rint(changed), 0, 255).astype(np.uint8)

        return _each(images, one)


class GaussianBlur(ImageAttack[NoParams]):
    """Convolution with a Gaussian cut at 4 σ; edges are mirrored without repeating the border."""

    name = "gaussian-blur"
    version = "1"
    Params = NoParams
    family = "blur"
    strength = Strength("sigma", "px", (0.5, 1.0, 1.5), 0, 64, identity=0)
    card = Card("Gaussian blur", "standard", "Apache-2.0", "Blurs with a Gaussian of σ pixels.")

    def apply(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is σ in pixels."""
        del indices, ctx
        import cv2

        if strength == 0:
            return images.clone()
        side = 2 * int(4 * strength + 0.5) + 1

        def one(image: Image, number: int) -> Any:
            del number
            return cv2.GaussianBlur(
                image, (side, side), sigmaX=strength, borderType=cv2.BORDER_REFLECT_101
            )

        return _each(images, one)


class CropResize(ImageAttack[NoParams]):
    """A random square window, resized back to the full size (bilinear)."""

    name = "crop-resize"
    version = "1"
    Params = NoParams
    family = "geometric"
    strength = Strength("kept", "share of the side", (0.9, 0.8, 0.7), 0.1, 1, identity=1)
    card = Card(
        "Crop and resize",
        "Yu et al. 2022, robustness study",
        "Apache-2.0",
        "Cuts out a random square window and resizes it back.",
    )

    def apply(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the side of the window as a share of the image's."""
        import cv2

        def one(image: Image, number: int) -> Any:
            full = image.shape[0]
            side = max(1, round(strength * full))
            # Two uniforms place the window at every strength, so that a curve keeps its centre.
            top, left = (
                int(u * (full - side + 1)) for u in ctx.image_rng(indices[number]).random(2)
            )
            window = image[top : top + side, left : left + side]
            return cv2.resize(window, (full, full), interpolation=cv2.INTER_LINEAR)

        return _each(images, one)


def _each(images: Tensor, one: Callable[[Image, int], Any]) -> Tensor:
    """Apply `one(image (H, W, 3), number)` to each image; same layout and device out."""
    import numpy as np
    import torch

    # Channels-last memory makes this a view; other layouts are copied once.
    arrays = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    changed = np.stack([one(image, number) for number, image in enumerate(arrays)])
    return torch.from_numpy(changed).to(images.device).permute(0, 3, 1, 2)


@hookimpl
def fpbench_attacks() -> list[type[Attack[Any]]]:
    """Image attacks."""
    return [Jpeg, GaussianNoise, GaussianBlur, CropResize]

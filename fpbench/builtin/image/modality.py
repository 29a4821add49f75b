"""Images: 8-bit sRGB, compared by PSNR and SSIM, damaged by what SSIM loses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fpbench.api import Card, Modality, NoParams, SampleInfo

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn import Module


class Image(Modality[NoParams]):
    """uint8 (N, 3, H, W), sRGB, channels-last memory."""

    name = "image"
    version = "1"
    Params = NoParams
    card = Card(
        "Images",
        "PSNR; SSIM (Wang et al. 2004); own features",
        "Apache-2.0",
        "8-bit sRGB images, compared by PSNR and SSIM.",
    )

    def check(self, who: str, samples: object, count: int, info: SampleInfo) -> Tensor:
        """See `Modality.check`."""
        from fpbench.api.samples import check_samples

        return check_samples(who, "images", samples, count, info)

    def to_float(self, samples: Tensor) -> Tensor:
        """See `fpbench.api.images.to_float`."""
        from fpbench.api.images import to_float

        return to_float(samples)

    def to_file(self, samples: Tensor) -> Tensor:
        """See `fpbench.api.images.to_uint8`."""
        from fpbench.api.images import to_uint8

        return to_uint8(samples)

    @property
    def likeness(self) -> Mapping[str, Callable[[Tensor, Tensor], Tensor]]:
        """PSNR in dB, SSIM."""
        return {"psnr": _psnr, "ssim": _ssim}

    def damage(self, before: Tensor, after: Tensor) -> Tensor:
        """1 - SSIM."""
        return 1 - _ssim(before, after)

    def features(self, device: torch.device, info: SampleInfo) -> Module:
        """64 of the small network that comes with fpbench."""
        from fpbench.nn.features import ToyFeatures

        del info  # the network takes any size
        return ToyFeatures().to(device)

    def show(self, samples: NDArray[Any]) -> tuple[str, bytes]:
        """A PNG with the images side by side."""
        import cv2
        import numpy as np

        strip = np.concatenate(list(samples.transpose(0, 2, 3, 1)), axis=1)
        ok, data = cv2.imencode(".png", strip[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
        assert ok
        return "image/png", data.tobytes()


def _psnr(before: Tensor, after: Tensor) -> Tensor:
    from fpbench.nn.image_quality import psnr

    return psnr(before, after)


def _ssim(before: Tensor, after: Tensor) -> Tensor:
    from fpbench.nn.image_quality import ssim

    return ssim(before, after)

"""The methods `invisible-watermark`, `blind-watermark`, `trustmark`, `videoseal`, and `sounds`."""

from __future__ import annotations

from typing import Any

from fpbench.api import Card, Method, SampleInfo, hookimpl
from fpbench_published_marks import libraries, sounds
from fpbench_published_marks.method import LibraryMethod
from fpbench_published_marks.params import (
    BlindWatermarkParams,
    InvisibleWatermarkParams,
    TrustMarkParams,
    VideoSealParams,
)

_OPAQUE = "It runs in another process, so that attacks on weights are refused."


class InvisibleWatermark(LibraryMethod[InvisibleWatermarkParams]):
    """The marks that came with Stable Diffusion."""

    name = "invisible-watermark"
    version = "1"
    Params = InvisibleWatermarkParams
    environment = libraries.INVISIBLE_WATERMARK
    module = "with_invisible_watermark"
    gate = 0.6  # nothing is trained: what it reads of small images is what there is
    card = Card(
        "invisible-watermark",
        "Wang 2021 (DWT-DCT, DWT-DCT-SVD); Zhang, Xu, Cuesta-Infante, Veeramachaneni 2019 "
        "(RivaGAN)",
        "MIT (the library, with the weights in its wheel)",
        "A bit in the largest coefficient (DWT-DCT) or singular value (DWT-DCT-SVD) of each block "
        "of 8 × 8 pixels of one colour channel, repeated over the image, or a network trained on "
        f"video (RivaGAN). {_OPAQUE}",
        "The library's encoder takes images of at least 256 × 256 pixels; here the classes that it "
        "calls are called themselves, on images of any size. On larger images both are the same.",
        bibtex="@article{zhang2019rivagan,\n"
        "  title = {Robust Invisible Video Watermarking with Attention},\n"
        "  author = {Zhang, Kevin Alex and Xu, Lei and Cuesta-Infante, Alfredo and "
        "Veeramachaneni, Kalyan},\n"
        "  journal = {arXiv:1909.01285},\n"
        "  year = {2019},\n"
        "}",
    )

    def objection(self, info: SampleInfo, users: int) -> str:
        """A bit needs a block of its own, save RivaGAN's."""
        del users
        blocks = (info.size // 8) ** 2
        if self.params.variant == "rivagan" or self.bits <= blocks:
            return ""
        return _too_many(self.bits, blocks, info.size)


class BlindWatermark(LibraryMethod[BlindWatermarkParams]):
    """A mark in singular values."""

    name = "blind-watermark"
    version = "1"
    Params = BlindWatermarkParams
    environment = libraries.BLIND_WATERMARK
    module = "with_blind_watermark"
    card = Card(
        "blind-watermark",
        "Guo 2020-2023, the library blind_watermark",
        "MIT (the library)",
        "A bit in the two largest singular values of each block of 8 × 8 pixels of all three "
        "colour channels, repeated over the image; what is read is split in two by k-means. "
        f"{_OPAQUE}",
        "Its passwords are the library's own defaults, 1 and 1.",
    )

    def objection(self, info: SampleInfo, users: int) -> str:
        """The library wants fewer bits than blocks."""
        del users
        blocks = ((info.size + 1) // 2 // 4) ** 2
        return "" if self.bits < blocks else _too_many(self.bits, blocks - 1, info.size)


class TrustMark(LibraryMethod[TrustMarkParams]):
    """A network by Adobe."""

    name = "trustmark"
    version = "1"
    Params = TrustMarkParams
    environment = libraries.TRUSTMARK
    module = "with_trustmark"
    card = Card(
        "TrustMark",
        "Bui, Agarwal, Collomosse, ICCV 2025",
        "MIT (the library); its weights are not passed on here",
        "Networks trained at 256 pixels mark an image that was brought to that size; the change is "
        f"brought back to the image's own. {_OPAQUE}",
        "Without its error-correcting code: 100 raw bits. The weights come with no package: name "
        "their folder.",
        bibtex="@inproceedings{bui2025trustmark,\n"
        "  title = {{TrustMark}: Robust Watermarking and Watermark Removal for Arbitrary "
        "Resolution Images},\n"
        "  author = {Bui, Tu and Agarwal, Shruti and Collomosse, John},\n"
        "  booktitle = {International Conference on Computer Vision},\n"
        "  year = {2025},\n"
        "}",
    )

    def brought(self) -> tuple[tuple[str, ...], str]:
        """See `LibraryMethod.brought`."""
        variant = self.params.variant
        fetch = f"TrustMark(model_type='{variant}', loadRemover=False)"
        names = (f"encoder_{variant}.ckpt", f"decoder_{variant}.ckpt", f"trustmark_{variant}.yaml")
        return names, (
            f'let `{self.environment.python} -c "from trustmark import TrustMark; {fetch}"` fetch '
            "them where there is internet, and name the folder trustmark/models that it fills"
        )


class VideoSeal(LibraryMethod[VideoSealParams]):
    """A network by Meta."""

    name = "videoseal"
    version = "1"
    Params = VideoSealParams
    environment = libraries.VIDEOSEAL
    module = "with_videoseal"
    card = Card(
        "Video Seal",
        "Fernandez, Elsahar, Yalniz, Mourachko 2024",
        "MIT (the library); its weights are not passed on here",
        "Its model 1.0 of 256 bits, trained at 256 pixels, marks the luminance of an image that "
        f"was brought to that size, faintly where it would be seen. {_OPAQUE}",
        "Of images, not of videos; what the library gives is rounded to 8 bits. The weights come "
        "with no package: name their folder.",
        bibtex="@article{fernandez2024videoseal,\n"
        "  title = {Video Seal: Open and Efficient Video Watermarking},\n"
        "  author = {Fernandez, Pierre and Elsahar, Hady and Yalniz, I. Zeki and Mourachko, "
        "Alexandre},\n"
        "  journal = {arXiv:2412.09492},\n"
        "  year = {2024},\n"
        "}",
    )

    def brought(self) -> tuple[tuple[str, ...], str]:
        """See `LibraryMethod.brought`."""
        return ("y_256b_img.pth", "attenuation.yaml"), (
            "fetch the first with `curl -LO https://dl.fbaipublicfiles.com/videoseal/"
            "y_256b_img.pth`, take the other from `configs` in the library's repository "
            "facebookresearch/videoseal, and name their folder"
        )


def _too_many(bits: int, most: int, size: int) -> str:
    return (
        f"expected at most {most} bits, each in blocks of its own, on images of {size} pixels, got "
        f"{bits}; set bits"
    )


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The methods."""
    return [InvisibleWatermark, BlindWatermark, TrustMark, VideoSeal, *sounds.METHODS]

"""Files of samples outside any data set, as they lie: images and sounds."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from typing import Any

import PIL.Image
import torch
from torch import Tensor

from fpbench.api import Modality, NoParams, SampleInfo
from fpbench.builtin.audio.modality import Audio
from fpbench.builtin.audio.showing import wav
from fpbench.builtin.audio_folder.decoding import UnfitSound, decode_whole
from fpbench.builtin.audio_folder.listing import listed
from fpbench.builtin.image.modality import Image
from fpbench.builtin.image_folder import pixels
from fpbench.builtin.image_folder.files import Files
from fpbench.stages.images import as_memory, from_memory

__all__ = ["MEDIA", "Medium", "UnfitFile"]


class UnfitFile(Exception):
    """The bytes are no sample; says why."""


class Medium(ABC):
    """How samples of a modality are read from files and written, neither cut nor resized.

    Attributes:
        noun: what one is called.
        suffix: of what is written.
        modality: of the samples.
    """

    noun: str
    suffix: str
    modality: Modality[Any]

    @abstractmethod
    def names(self, files: Files) -> tuple[list[str], dict[str, str]]:
        """Names of the files, and of those that need not be read to know that they are unfit why.

        Raises:
            MissingResource: there are none.
        """

    @abstractmethod
    def read(self, data: bytes) -> tuple[Tensor, SampleInfo]:
        """A sample as a batch of one.

        Raises:
            UnfitFile: it is none.
            MissingResource: the library that reads it is not installed.
        """

    @abstractmethod
    def write(self, sample: Tensor, info: SampleInfo) -> bytes:
        """The file of a batch of one."""


class _Images(Medium):
    noun, suffix, modality = "image", ".png", Image(NoParams())

    def names(self, files: Files) -> tuple[list[str], dict[str, str]]:
        listing = files.listing()
        why = {
            name: f"one {kind.words}{why and f' ({why})'}"
            for name, (kind, why) in listing.unusable.items()
        }
        return [*listing.images], why

    def read(self, data: bytes) -> tuple[Tensor, SampleInfo]:
        try:
            # torch wants memory that it may write.
            image = from_memory(pixels.decode_whole(data)[None].copy(), torch.device("cpu"))
        except pixels.DamagedImage as error:
            raise UnfitFile(str(error)) from None
        return image, SampleInfo("image", tuple(image.shape[1:]), "uint8", {})

    def write(self, sample: Tensor, info: SampleInfo) -> bytes:
        written = io.BytesIO()
        PIL.Image.fromarray(as_memory(sample)[0]).save(written, "PNG")
        return written.getvalue()


class _Sounds(Medium):
    noun, suffix, modality = "sound", ".wav", Audio(NoParams())

    def names(self, files: Files) -> tuple[list[str], dict[str, str]]:
        listing = listed(files)
        why = {
            name: f"one {kind.words}{why and f' ({why})'}"
            for name, (kind, why) in listing.unusable.items()
        }
        return [*listing.sounds], why

    def read(self, data: bytes) -> tuple[Tensor, SampleInfo]:
        try:
            samples, rate = decode_whole(data)
        except UnfitSound as error:
            why = f" ({error})" if str(error) else ""
            raise UnfitFile(f"one {error.kind.words}{why}") from None
        return torch.from_numpy(samples)[None], SampleInfo(
            "audio", samples.shape, "int16", {}, rate
        )

    def write(self, sample: Tensor, info: SampleInfo) -> bytes:
        assert info.rate is not None
        return wav(sample.cpu().numpy(), info.rate, pause_s=0)


MEDIA: dict[str, Medium] = {"image": _Images(), "audio": _Sounds()}
"""Name of a modality -> its files."""

"""Parameters of the published marks."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fpbench.api import Params
from fpbench.api.params import Local

Bits = Annotated[int, Field(ge=1, le=4096)]
Strength = Annotated[float, Field(gt=0, le=16)]
Weights = Annotated[str, Local()]


class LibraryParams(Params):
    """What all have.

    Attributes:
        timeout_s: seconds that an answer may take, the first one with the start.
    """

    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 600.0


class InvisibleWatermarkParams(LibraryParams):
    """Which of the library's marks.

    Attributes:
        variant: "dwt-dct", "dwt-dct-svd" or "rivagan".
        bits: length of a code, K; RivaGAN's is 32.
        strength: of the mark, relative to the library's own: of the steps to which coefficients are
            rounded, which reader and embedder share, or of RivaGAN's change of the image.
        timeout_s: seconds that an answer may take, the first one with the start.
    """

    variant: Literal["dwt-dct", "dwt-dct-svd", "rivagan"] = "dwt-dct"
    bits: Bits = 32
    strength: Strength = 1.0

    @model_validator(mode="after")
    def _as_trained(self) -> Self:
        if self.variant == "rivagan" and self.bits != 32:
            raise ValueError(f"RivaGAN was trained for 32 bits, got {self.bits}; set bits = 32")
        return self


class BlindWatermarkParams(LibraryParams):
    """The length of a code, and how loud it is.

    Attributes:
        bits: K.
        strength: of the mark, relative to the library's own: of the steps to which singular values
            are rounded, which reader and embedder share.
        timeout_s: seconds that an answer may take, the first one with the start.
    """

    bits: Bits = 32
    strength: Strength = 1.0


class TrustMarkParams(LibraryParams):
    """Which of the published models, and where it is.

    Attributes:
        variant: "Q", "B", "C" or "P".
        weights: a folder with its `encoder_Q.ckpt`, `decoder_Q.ckpt` and `trustmark_Q.yaml`.
        bits: length of a code, all that the models carry; none is spent on error correction.
        timeout_s: seconds that an answer may take, the first one with the start.
    """

    variant: Literal["Q", "B", "C", "P"] = "Q"
    weights: Weights = ""
    bits: Literal[100] = 100


class VideoSealParams(LibraryParams):
    """Where the model is.

    Attributes:
        weights: a folder with `y_256b_img.pth` and the repository's `configs/attenuation.yaml`.
        bits: length of a code.
        timeout_s: seconds that an answer may take, the first one with the start.
    """

    weights: Weights = ""
    bits: Literal[256] = 256


class PerthParams(LibraryParams):
    """It has none of its own.

    Attributes:
        timeout_s: seconds that an answer may take, the first one with the start.
    """


class AwareParams(LibraryParams):
    """Its length of a code.

    Attributes:
        bits: length of a code.
        timeout_s: seconds that an answer may take, the first one with the start.
    """

    bits: Literal[20] = 20


class AudioSealParams(LibraryParams):
    """Where the models are.

    Attributes:
        weights: a folder with `generator_base.pth` and `detector_base.pth`.
        bits: length of a code.
        timeout_s: seconds that an answer may take, the first one with the start.
    """

    weights: Weights = ""
    bits: Literal[16] = 16


class WavMarkParams(LibraryParams):
    """Where the model is.

    Attributes:
        weights: a folder with its file, whose long name begins with `step59000_`.
        bits: length of a code; as many more are the pattern by which it is found.
        timeout_s: seconds that an answer may take, the first one with the start.
    """

    weights: Weights = ""
    bits: Literal[16] = 16


class SilentCipherParams(LibraryParams):
    """Where the model for 44.1 kHz is.

    Attributes:
        weights: a folder with `enc_c.ckpt`, `dec_c.ckpt`, `dec_m_0.ckpt` and `hparams.yaml`.
        bits: length of a code.
        timeout_s: seconds that an answer may take, the first one with the start.
    """

    weights: Weights = ""
    bits: Literal[40] = 40

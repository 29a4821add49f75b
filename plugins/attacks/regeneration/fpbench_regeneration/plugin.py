"""The attack `regenerate`: registration and card."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from fpbench.api import (
    Access,
    Attack,
    Card,
    Context,
    MissingResource,
    Params,
    Refusal,
    SampleAttack,
    Setting,
    State,
    Strength,
    Surface,
    hookimpl,
)
from fpbench.api.params import Local
from fpbench.nn.autoencoders import layout
from fpbench_regeneration import codec_files

if TYPE_CHECKING:
    from torch import Tensor

Count = Annotated[int, Field(ge=1)]


class RegenerateParams(Params):
    """Which autoencoder, and what happens to its latents.

    Attributes:
        autoencoder: of images, a folder as diffusers saves `AutoencoderKL` or `AutoencoderTiny`
            (itself, or a pipeline with a folder `vae`), or the file of a decoder in the layout of
            TAESD; of sounds, a folder as transformers saves `EncodecModel` or `DacModel`; none =
            one that the adversary trains on the clean samples that he owns.
        encoder: the file of the encoder that belongs to a decoder's file.
        bitrate: kbit/s of a codec from a folder, which takes the nearest that it has; None = its
            highest.
        sigma: of normal noise on a sample's latents, in units of their standard deviation; a codec
            from a folder has none.
        channels: of the latents of one that is trained, at a quarter of an image's side or a
            sixteenth of a sound's length.
        steps: of its training.
    """

    autoencoder: Annotated[str, Local()] = ""
    encoder: Annotated[str, Local()] = ""
    bitrate: Annotated[float, Field(gt=0)] | None = None
    sigma: Annotated[float, Field(ge=0)] = 0.0
    channels: Count = 16
    steps: Count = 600

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.encoder and not self.autoencoder:
            raise ValueError("`encoder` belongs to a decoder's file: set `autoencoder` to it")
        if self.bitrate and not self.autoencoder:
            raise ValueError("`bitrate` belongs to a codec's folder: set `autoencoder` to it")
        return self


class Regenerate(SampleAttack[RegenerateParams]):
    """Samples through an autoencoder and back, as a file carries them after each pass."""

    name = "regenerate"
    version = "1"
    Params = RegenerateParams
    family = "regeneration"
    access = frozenset({Access.IMAGES, Access.CLEAN_IMAGES})
    modalities = frozenset({"image", "audio"})
    strength = Strength("passes", "through the autoencoder", (1, 2, 4), 1, 64, whole=True)
    card = Card(
        "Regeneration",
        "Zhao et al., NeurIPS 2024 (arXiv 2306.01953); several passes: WAVES, An et al., ICML 2024",
        "Apache-2.0; published weights under their own licence",
        "Encodes images or sounds and decodes them again, once or several times: what an "
        "autoencoder does not keep is lost. It asks no reader and has seen no mark.",
        "Autoencoders alone, no diffusion; of sounds EnCodec or DAC. Without files the adversary "
        "trains a small one of his own on the clean samples that he owns; of sounds a neural "
        "codec, whose latents are rounded to 7 levels (Mentzer et al. 2023).",
    )

    def __init__(self, params: RegenerateParams) -> None:
        super().__init__(params)
        if params.autoencoder:
            self.access = frozenset({Access.IMAGES, Access.PUBLISHED})

    def fit(self, surface: Surface, ctx: Context) -> State:
        """The autoencoder of the files, or one that is trained now.

        Raises:
            ContractError: the files are of no autoencoder.
            MissingResource: they are not there.
        """
        from fpbench_regeneration import codecs, learning, passing, sounds

        who, is_sound = f"attack {self.name}", ctx.modality.name == "audio"
        if self.params.autoencoder and is_sound:
            return codecs.read_codec(who, self.params.autoencoder, self.digest(), ctx)
        if self.params.autoencoder:
            return passing.read_files(who, self._files(), self.digest(), ctx)
        train = sounds.fit if is_sound else learning.fit
        return train(surface.clean_images, self.params.channels, self.params.steps, ctx)

    def apply(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """The strength is how many passes; a sample's noise is drawn pass by pass."""
        from fpbench_regeneration import codecs, passing, sounds

        if not len(images):
            return images.clone()
        if ctx.modality.name == "audio" and self.params.autoencoder:
            return codecs.passed(images, int(strength), self.params.bitrate, ctx)
        if ctx.modality.name == "audio":
            return sounds.passed(images, int(strength), self.params.sigma, indices, ctx)
        coder = passing.opened(ctx)
        return passing.passed(images, coder, int(strength), self.params.sigma, indices, ctx)

    def refuse(self, setting: Setting) -> Refusal | None:
        """Settings that a published codec has not; files that cannot be used are told of, too.

        Raises:
            ContractError: the files are of no autoencoder, or of one of the other modality.
        """
        if not self.params.autoencoder:
            return None
        is_sound = setting.info.modality == "audio"
        if is_sound and (self.params.sigma or self.params.encoder):
            return Refusal("a codec is one folder, and has no latents; leave encoder and sigma out")
        if not is_sound and self.params.bitrate:
            return Refusal("autoencoders of images have no bitrate; leave it out")
        with suppress(MissingResource):  # which `fit` says
            if is_sound:
                codec_files.check(f"attack {self.name}", self.params.autoencoder)
            else:
                self._files()
        return None

    def steps(self, setting: Setting) -> int:
        """Those of an autoencoder of his own."""
        del setting
        return 0 if self.params.autoencoder else self.params.steps

    def _files(self) -> layout.Files:
        return layout.find(f"attack {self.name}", self.params.autoencoder, self.params.encoder)


@hookimpl
def fpbench_attacks() -> list[type[Attack[Any]]]:
    """The attack."""
    return [Regenerate]

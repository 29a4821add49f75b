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

if TYPE_CHECKING:
    from torch import Tensor

Count = Annotated[int, Field(ge=1)]


class RegenerateParams(Params):
    """Which autoencoder, and what happens to its latents.

    Attributes:
        autoencoder: a folder as diffusers saves `AutoencoderKL` or `AutoencoderTiny` (itself, or a
            pipeline with a folder `vae`), or the file of a decoder in the layout of TAESD; none =
            one that the adversary trains on the clean images that he owns.
        encoder: the file of the encoder that belongs to a decoder's file.
        sigma: of normal noise on an image's latents, in units of their standard deviation.
        channels: of the latents of one that is trained, at a quarter of the side.
        steps: of its training.
    """

    autoencoder: Annotated[str, Local()] = ""
    encoder: Annotated[str, Local()] = ""
    sigma: Annotated[float, Field(ge=0)] = 0.0
    channels: Count = 16
    steps: Count = 600

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.encoder and not self.autoencoder:
            raise ValueError("`encoder` belongs to a decoder's file: set `autoencoder` to it")
        return self


class Regenerate(SampleAttack[RegenerateParams]):
    """Images through an autoencoder and back, as 8-bit images after each pass."""

    name = "regenerate"
    version = "1"
    Params = RegenerateParams
    family = "regeneration"
    access = frozenset({Access.IMAGES, Access.CLEAN_IMAGES})
    strength = Strength("passes", "through the autoencoder", (1, 2, 4), 1, 64, whole=True)
    card = Card(
        "Regeneration",
        "Zhao et al., NeurIPS 2024 (arXiv 2306.01953); several passes: WAVES, An et al., ICML 2024",
        "Apache-2.0; published weights under their own licence",
        "Encodes images and decodes them again, once or several times: what an autoencoder does "
        "not keep is lost. It asks no reader and has seen no marked image.",
        "Autoencoders alone, no diffusion. Without files the adversary trains a small one of his "
        "own on the clean images that he owns.",
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
        from fpbench_regeneration import learning, passing

        if self.params.autoencoder:
            return passing.read_files(f"attack {self.name}", self._files(), self.digest(), ctx)
        return learning.fit(surface.clean_images, self.params.channels, self.params.steps, ctx)

    def apply(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """The strength is how many passes; an image's noise is drawn pass by pass."""
        import torch

        from fpbench_regeneration import passing

        if not len(images):
            return images.clone(memory_format=torch.channels_last)
        coder = passing.opened(ctx)
        return passing.passed(images, coder, int(strength), self.params.sigma, indices, ctx)

    def refuse(self, setting: Setting) -> Refusal | None:
        """Nothing is refused; files that cannot be used are told of before anything is trained.

        Raises:
            ContractError: the files are of no autoencoder.
        """
        del setting
        with suppress(MissingResource):  # which `fit` says
            if self.params.autoencoder:
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

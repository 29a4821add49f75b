"""Parameters of the host `latent-diffusion`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fpbench.api import Params
from fpbench.api.params import Local

Count = Annotated[int, Field(ge=1)]


class LatentDiffusionParams(Params):
    """Which decoder, and where its latents come from.

    Attributes:
        autoencoder: a folder as diffusers saves `AutoencoderKL` or `AutoencoderTiny` (itself, or a
            pipeline with a folder `vae`), or the file of a decoder in the layout of TAESD.
        encoder: the file of the encoder that belongs to a decoder's file.
        hub: name of such a folder on the hub, in the place of `autoencoder`; it must have been
            fetched before.
        revision: commit on the hub.
        sampler: "gaussian": principal components of encoded photographs with normal weights;
            "photographs": the encoded photographs themselves.
        images: photographs that are encoded for it.
        components: principal components.
        temperature: factor of their weights; below 1 for plainer and cleaner images.
        tuning_batch: images of a step of fine-tuning.
    """

    autoencoder: Annotated[str, Local()] = ""
    encoder: Annotated[str, Local()] = ""
    hub: str = ""
    revision: str = ""
    sampler: Literal["gaussian", "photographs"] = "gaussian"
    images: Annotated[int, Field(ge=2)] = 4000
    components: Count = 256
    temperature: Annotated[float, Field(gt=0)] = 0.8
    tuning_batch: Count = 4

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.autoencoder) == bool(self.hub):
            raise ValueError("set either `autoencoder`, a place on this machine, or `hub`")
        if self.hub and not self.revision:
            raise ValueError("`hub` needs `revision`, the commit that is meant")
        return self

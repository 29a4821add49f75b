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
            "photographs": the encoded photographs themselves; "denoiser": a transformer of its own
            that learns to make latents like those of the photographs; "pipeline": text encoder,
            U-Net and scheduler of the pipeline that `autoencoder` or `hub` names.
        images: photographs that are encoded for it.
        components: principal components.
        temperature: factor of their weights; below 1 for plainer and cleaner images.
        patch: of a denoiser, side of what one token is made of, pixels of a latent.
        width: of its tokens.
        depth: its blocks.
        heads: of its attention; they share the width.
        steps: of its training.
        batch: latents of a step.
        learning_rate: Adam's, after a hundred steps.
        decay: of the moving average of its weights.
        dropped: share of classes that are left out in its training; guidance needs some.
        sampling_steps: in which it makes latents of noise.
        solver: "euler", or "heun" with twice as many velocities.
        guidance: factor on the way from no class to the class, from no prompt to the prompt; 1 =
            so far; None = 1 of a denoiser, 7.5 of a pipeline.
        scheduler: of a pipeline, "ddim" with the pipeline's settings, or "folder", its own.
        prompts: of a pipeline; one for each image where the data set has no captions.
        tuning_batch: images of a step of fine-tuning.
    """

    autoencoder: Annotated[str, Local()] = ""
    encoder: Annotated[str, Local()] = ""
    hub: str = ""
    revision: str = ""
    sampler: Literal["gaussian", "photographs", "denoiser", "pipeline"] = "gaussian"
    images: Annotated[int, Field(ge=2)] = 4000
    components: Count = 256
    temperature: Annotated[float, Field(gt=0)] = 0.8
    patch: Count = 1
    width: Count = 256
    depth: Count = 8
    heads: Count = 4
    steps: Count = 50_000
    batch: Count = 128
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.9995
    dropped: Annotated[float, Field(ge=0, lt=1)] = 0.1
    sampling_steps: Count = 50
    solver: Literal["euler", "heun"] = "euler"
    guidance: Annotated[float, Field(ge=0)] | None = None
    scheduler: Literal["ddim", "folder"] = "ddim"
    prompts: Annotated[tuple[str, ...], Field(min_length=1)] = ("a photograph",)
    tuning_batch: Count = 4

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.autoencoder) == bool(self.hub):
            raise ValueError("set either `autoencoder`, a place on this machine, or `hub`")
        if self.hub and not self.revision:
            raise ValueError("`hub` needs `revision`, the commit that is meant")
        if self.width % self.heads:
            raise ValueError(f"`width` {self.width} is no multiple of `heads` {self.heads}")
        return self

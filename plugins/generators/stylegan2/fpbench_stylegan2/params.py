"""Parameters of the host `stylegan2`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fpbench.api import Params

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class StyleGAN2Params(Params):
    """Sizes and training; the defaults make recognisable faces at 32 px in minutes on two cores.

    Attributes:
        architecture: "stylegan2" as in the paper, or "compact": true-scale weights, convolutions
            up to half the image size, no noise inputs.
        latent_dim: components of a latent, and principal components that pair images with them.
        channels: channels of every stage; in "stylegan2" the most that a stage has.
        channel_base: in "stylegan2", channels times side in pixels of the later stages.
        embedding_dim: size of the embedding between mapping network and styles.
        mapping_layers: depth of the mapping network of "stylegan2".
        batch: images per step.
        pair_steps: steps of regression from an image's latent to the image; 0 learns from noise.
        learning_rate: Adam's, in these steps.
        adversarial_steps: steps of the adversarial training.
        adversarial_learning_rate: the generator's, in these steps.
        discriminator_learning_rate: the discriminator's.
        adversarial_weight: of the adversarial loss; the paired one, if there is one, has weight 1.
        penalty_weight: of R1; 0.01 to 0.02 for "compact" at 32 px, where 1 keeps the discriminator
            from learning.
        path_weight: of path-length regularisation; "stylegan2" only.
        style_mixing: share of images with two latents; "stylegan2" only.
        average_decay: of the running average of the weights, per adversarial step.
    """

    architecture: Literal["compact", "stylegan2"] = "compact"
    latent_dim: Annotated[int, Field(ge=1, le=768)] = 64
    channels: Annotated[int, Field(ge=8)] = 64
    channel_base: Annotated[int, Field(ge=64)] = 16384
    embedding_dim: Count = 96
    mapping_layers: Count = 8
    batch: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    pair_steps: Annotated[int, Field(ge=0)] = 850
    learning_rate: Rate = 3e-3
    adversarial_steps: Annotated[int, Field(ge=0)] = 100
    adversarial_learning_rate: Rate = 5e-4
    discriminator_learning_rate: Rate = 1e-3
    adversarial_weight: Annotated[float, Field(ge=0)] = 0.1
    penalty_weight: Annotated[float, Field(ge=0)] = 0.01
    path_weight: Annotated[float, Field(ge=0)] = 0.0
    style_mixing: Annotated[float, Field(ge=0, le=1)] = 0.0
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.98

    @model_validator(mode="after")
    def _only_where_it_acts(self) -> Self:
        if self.architecture == "compact" and self.path_weight:
            raise ValueError('path_weight needs architecture = "stylegan2"')
        return self

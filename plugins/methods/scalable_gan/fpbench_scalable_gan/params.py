"""Parameters of the method `scalable-gan`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fpbench.api import Params

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class ScalableGANParams(Params):
    """Sizes and training; the defaults read 32 bits after minutes of training on two cores.

    Attributes:
        bits: length of a code, K.
        architecture: "stylegan2" as in the paper, or "compact": true-scale weights, convolutions
            up to half the image size, no noise inputs, two small readers.
        latent_dim: length of a latent; of the host's length, its images pair with the host's.
        channels: channels of every stage; in "stylegan2" the most that a stage has.
        channel_base: in "stylegan2", channels times side in pixels of the later stages.
        mapping_layers: depth of the code's mapping network in "stylegan2".
        hidden_dim: in "compact", hidden layer between the latent and the first features.
        embedding_dim: size of the code's embedding.
        code_gain: in "compact", spread of the styles about 1 at the start of joint training.
        reader_channels: in "compact", channels of the readers' first convolution.
        batch: images per step; in joint training half as many latents, two codes each.
        pair_steps: steps of regression from a latent to its image, the code switched off; 0 learns
            from noise.
        pair_learning_rate: Adam's, in these steps.
        joint_steps: steps of joint training with all losses.
        image_learning_rate: Adam's, for the image path in joint training.
        code_learning_rate: Adam's, for the code path and the readers.
        discriminator_learning_rate: Adam's, for the discriminator.
        rate_floor: the generator's and the readers' rates fall to this share on a cosine; 1 keeps
            them.
        code_weight: of the code's reconstruction.
        latent_weight: of the latent's reconstruction.
        adversarial_weight: of the non-saturating logistic loss.
        consistency_weight: of the squared difference under two codes, once codes can be read.
        pair_weight: of the paired image loss of a paired training, once codes can be read.
        least_firmness: factor of the last two until codes can be read; 1 as in the paper.
        penalty_weight: of R1.
        path_weight: of path-length regularisation along the code's embedding; "stylegan2" only.
        average_decay: of the running averages of the weights, per joint step.
        average_reader: read with averaged weights; the paper reads with the last ones.
        immunise: family of perturbations between generator and reader; none if empty. "combination"
            is all five, as the attack of that name with parts = "five".
        immunise_from: bit accuracy in training from which on they are applied; from half of the
            steps on in any case.
        code_pool: train on so many codes again and again, as an ablation; 0 draws fresh ones.
    """

    bits: Annotated[int, Field(ge=1, le=512)] = 32
    architecture: Literal["compact", "stylegan2"] = "compact"
    latent_dim: Annotated[int, Field(ge=1, le=768)] = 64
    channels: Annotated[int, Field(ge=8)] = 64
    channel_base: Annotated[int, Field(ge=64)] = 16384
    mapping_layers: Count = 8
    hidden_dim: Count = 256
    embedding_dim: Count = 64
    code_gain: Rate = 0.3
    reader_channels: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    batch: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    pair_steps: Annotated[int, Field(ge=0)] = 600
    pair_learning_rate: Rate = 3e-3
    joint_steps: Count = 400
    image_learning_rate: Rate = 5e-4
    code_learning_rate: Rate = 2e-3
    discriminator_learning_rate: Rate = 2e-4
    rate_floor: Annotated[float, Field(gt=0, le=1)] = 0.1
    code_weight: Weight = 1.0
    latent_weight: Weight = 0.1
    adversarial_weight: Weight = 0.03
    consistency_weight: Weight = 14.0
    pair_weight: Weight = 4.0
    least_firmness: Annotated[float, Field(ge=0, le=1)] = 0.2
    penalty_weight: Weight = 0.05
    path_weight: Weight = 0.0
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.98
    average_reader: bool = True
    immunise: Literal["", "crop", "noise", "blur", "jpeg", "relight", "combination"] = ""
    immunise_from: Annotated[float, Field(ge=0, le=1)] = 0.95
    code_pool: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _only_where_it_acts(self) -> Self:
        if self.architecture == "compact" and self.path_weight:
            raise ValueError('path_weight needs architecture = "stylegan2"')
        return self

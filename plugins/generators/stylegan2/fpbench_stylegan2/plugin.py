"""The host `stylegan2`: registration, parameters, card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fpbench.api import (
    Card,
    Context,
    Generator,
    Host,
    ImageInfo,
    ImageStream,
    Needs,
    Params,
    State,
    hookimpl,
)
from fpbench.nn import limits

if TYPE_CHECKING:
    from torch import Tensor

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


class StyleGAN2(Host[StyleGAN2Params]):
    """A skip generator with modulated convolutions, small or at the paper's size."""

    name = "stylegan2"
    version = "4"
    Params = StyleGAN2Params
    card = Card(
        "StyleGAN2",
        "Karras et al., CVPR 2020",
        "Apache-2.0",
        "A skip generator with modulated, demodulated convolutions. With pair_steps, most of its "
        "training is a regression from an image's whitened principal components to the image, "
        "and an adversarial finish: it is then not a GAN that learned from noise alone.",
        "Samples with constant noise inputs, so that an image depends on its latent alone; the "
        "discriminator's fakes are the generator's of the same step; no truncation. The default "
        "architecture, compact: 0.3 million parameters, no noise inputs, no path lengths, no "
        "style mixing; convolutions stop at half the image size; weights at their true scale "
        "instead of an equalised learning rate. Of a batch cut into pieces or over devices, the "
        "minibatch deviation and the mean of path lengths see a piece.",
        bibtex="@inproceedings{karras2020analyzing,\n"
        "  title = {Analyzing and Improving the Image Quality of {StyleGAN}},\n"
        "  author = {Karras, Tero and Laine, Samuli and Aittala, Miika and Hellsten, Janne "
        "and Lehtinen, Jaakko and Aila, Timo},\n"
        "  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},\n"
        "  year = {2020},\n"
        "}",
    )

    def objection(self, images: ImageInfo) -> str:
        """Sides must be powers of two, and a batch must be there to draw."""
        return limits.objection(images, self.params.batch)

    def needs(self) -> Needs:
        """Room for one training."""
        return Needs(memory_gib=2.0)

    def fit(self, images: ImageStream, ctx: Context) -> State:
        """Regression on paired codes if asked, then the adversarial training."""
        from fpbench_stylegan2 import training

        return training.fit(images, self.params, ctx)

    def assemble(self, state: State, ctx: Context) -> Generator:
        """One step, "generator": latents (N, Z) to images."""
        from fpbench.nn.generator import ChainGenerator
        from fpbench_stylegan2 import training

        network = training.restore(state, self.params, ctx.device)
        return ChainGenerator({"generator": network}, self.params.latent_dim, ctx.device)

    def untrained(self, state: State, ctx: Context) -> Generator:
        """The same step with fresh weights."""
        from fpbench.nn.generator import ChainGenerator
        from fpbench.nn.state import placed
        from fpbench_stylegan2 import training

        with ctx.seeded("untrained"):
            network = training.build(self.params, int(state["image_size"]))
        network = placed(network, ctx.device)
        return ChainGenerator({"generator": network}, self.params.latent_dim, ctx.device)

    def encode(self, state: State, images: Tensor, ctx: Context) -> Tensor:
        """(N, Z) whitened principal components, near N(0, 1); the generator returns their image.

        Raises:
            ContractError: the host learned from noise.
        """
        from fpbench_stylegan2 import training

        return training.encode(state, images.to(ctx.device))

    def finetune(
        self,
        state: State,
        generator: Generator,
        images: Tensor,
        learning_rate: float,
        marks: Sequence[int],
        ctx: Context,
    ) -> Iterator[tuple[int, Generator]]:
        """The host's own loss on the images that come out, through all steps from `output` on."""
        from fpbench.nn.generator import Tail
        from fpbench_stylegan2 import training

        tail = Tail(generator)
        for mark in training.finetune(tail, state, images, self.params, learning_rate, marks, ctx):
            yield mark, tail.within(generator)


@hookimpl
def fpbench_hosts() -> list[type[Host[Any]]]:
    """The host."""
    return [StyleGAN2]

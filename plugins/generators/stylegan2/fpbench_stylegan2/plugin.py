"""The host `stylegan2`: registration, parameters, card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fpbench.api import (
    Card,
    Context,
    Generator,
    Host,
    ImageStream,
    Needs,
    Params,
    State,
    hookimpl,
)

if TYPE_CHECKING:
    from torch import Tensor

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class StyleGAN2Params(Params):
    """Sizes and training; the defaults make recognisable faces at 32 px in minutes on two cores.

    Attributes:
        latent_dim: components of a latent, and principal components that pair images with them.
        channels: channels of every stage.
        embedding_dim: size of the embedding between mapping network and styles.
        batch: images per step.
        pair_steps: steps of regression from an image's latent to the image.
        learning_rate: Adam's, in these steps.
        adversarial_steps: steps of the adversarial finish.
        adversarial_learning_rate: the generator's, in the finish.
        adversarial_weight: of the adversarial loss against the paired one.
        penalty_weight: of R1; 0.01 to 0.02 at 32 px, 1 keeps the discriminator from learning.
    """

    latent_dim: Annotated[int, Field(ge=1, le=768)] = 64
    channels: Annotated[int, Field(ge=8)] = 64
    embedding_dim: Count = 96
    batch: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    pair_steps: Count = 850
    learning_rate: Rate = 3e-3
    adversarial_steps: Annotated[int, Field(ge=0)] = 100
    adversarial_learning_rate: Rate = 5e-4
    adversarial_weight: Annotated[float, Field(ge=0)] = 0.1
    penalty_weight: Annotated[float, Field(ge=0)] = 0.01


class StyleGAN2(Host[StyleGAN2Params]):
    """A small skip generator with modulated convolutions."""

    name = "stylegan2"
    version = "1"
    Params = StyleGAN2Params
    card = Card(
        "StyleGAN2, small",
        "Karras et al., CVPR 2020",
        "Apache-2.0",
        "A skip generator with modulated, demodulated convolutions. Most of its training is a "
        "regression from an image's whitened principal components to the image, with a short "
        "adversarial finish: it is not a GAN that learned from noise alone.",
        "0.3 million parameters, no noise inputs, no path-length loss, no style mixing; "
        "convolutions stop at half the image size; weights at their true scale instead of an "
        "equalised learning rate.",
    )

    def needs(self) -> Needs:
        """Room for one training."""
        return Needs(memory_gib=2.0)

    def fit(self, images: ImageStream, ctx: Context) -> State:
        """Regression on paired codes, then the adversarial finish."""
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
        """(N, Z) whitened principal components, near N(0, 1); the generator returns their image."""
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
        """The paired loss without an adversary, on the generator's first step; other steps stay."""
        from fpbench_stylegan2 import training

        name, step = next(iter(generator.steps.items()))
        tuned = training.finetune(step, state, images, learning_rate, marks, ctx)
        for mark, module in tuned:
            yield mark, generator.replace(name, module)


@hookimpl
def fpbench_hosts() -> list[type[Host[Any]]]:
    """The host."""
    return [StyleGAN2]

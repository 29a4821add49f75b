"""The host `stylegan2`: registration and card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Card,
    Context,
    Generator,
    Host,
    Needs,
    SampleInfo,
    SampleStream,
    State,
    hookimpl,
)
from fpbench.nn import limits
from fpbench_stylegan2.params import StyleGAN2Params

if TYPE_CHECKING:
    from torch import Tensor


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

    def objection(self, images: SampleInfo) -> str:
        """Sides must be powers of two, and a batch must be there to draw."""
        return limits.objection(images, self.params.batch)

    def needs(self) -> Needs:
        """Room for one training, as it was measured."""
        return Needs(memory_gib=2.0 if self.params.architecture == "compact" else 12.0)

    def fit(self, images: SampleStream, ctx: Context) -> State:
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

    def unpack(self, packed: State, ctx: Context) -> Generator:
        """See `Host.unpack`; the size of its images follows from the number of its layers."""
        from fpbench.api.packing import alone
        from fpbench.nn.generator import ChainGenerator
        from fpbench_stylegan2 import training

        weights = alone(f"host {self.name}: unpack", packed, "generator")
        network = training.unpack(weights, self.params, ctx.device)
        return ChainGenerator({"generator": network}, self.params.latent_dim, ctx.device)

    def encode(
        self, state: State, samples: Tensor, ctx: Context, step: str | None = None
    ) -> Tensor:
        """(N, Z) whitened principal components, near N(0, 1); the generator returns their image.

        Raises:
            ContractError: the host learned from noise.
        """
        from fpbench_stylegan2 import training

        del step  # it has one step alone
        return training.encode(state, samples.to(ctx.device))

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
        from fpbench.nn.latents import check_first
        from fpbench_stylegan2 import training

        check_first(f"host {self.name}: finetune", generator)
        tail = Tail(generator)
        for mark in training.finetune(tail, state, images, self.params, learning_rate, marks, ctx):
            yield mark, tail.within(generator)


@hookimpl
def fpbench_hosts() -> list[type[Host[Any]]]:
    """The host."""
    return [StyleGAN2]

"""The host `latent-diffusion`: registration and card."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Card,
    Context,
    ContractError,
    Generator,
    Host,
    MissingResource,
    Needs,
    Offer,
    SampleInfo,
    SampleStream,
    State,
    hookimpl,
)
from fpbench.nn.autoencoders import layout
from fpbench_latent_diffusion import hub, parts
from fpbench_latent_diffusion.params import LatentDiffusionParams

if TYPE_CHECKING:
    from torch import Tensor


class LatentDiffusion(Host[LatentDiffusionParams]):
    """A published decoder of latents, and a sampler in front of it."""

    name = "latent-diffusion"
    version = "1"
    Params = LatentDiffusionParams
    card = Card(
        "Latent diffusion: its decoder",
        "Rombach et al., CVPR 2022; tiny autoencoders: madebyollin/taesd",
        "Apache-2.0; the weights under their own licence",
        "A decoder of a latent diffusion model, as it was published. As it comes, its latents are "
        "drawn from a normal distribution over the principal components of encoded photographs: "
        "they show what the data set shows, and no denoiser has learnt to make them.",
        "The sampler is a Gaussian, or the encoded photographs themselves, or a small denoiser "
        "trained here (DiT by flow matching), unless a whole pipeline is named; "
        "fine-tuning goes on with the squared error to photographs alone.",
        bibtex="@inproceedings{rombach2022high,\n"
        "  title = {High-Resolution Image Synthesis with Latent Diffusion Models},\n"
        "  author = {Rombach, Robin and Blattmann, Andreas and Lorenz, Dominik and Esser, Patrick "
        'and Ommer, Bj{\\"o}rn},\n'
        "  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},\n"
        "  year = {2022},\n"
        "}",
    )

    def __init__(self, params: LatentDiffusionParams) -> None:
        super().__init__(params)
        self.offers = frozenset(Offer)
        if params.sampler != "gaussian":
            self.offers -= {Offer.GAUSSIAN}

    def needs(self) -> Needs:
        """Room for the decoder and the components of all latents, or for a whole pipeline."""
        return Needs(memory_gib=12.0 if self.params.sampler == "pipeline" else 2.0)

    def objection(self, images: SampleInfo) -> str:
        """What is wrong with the files, or with the size; what is missing `fit` says."""
        who, pipeline = f"host {self.name}", self.params.sampler == "pipeline"
        try:
            place = Path(self._place())
            if pipeline and place.exists():
                parts.check(who, place, self.params.scheduler)
            files = self._files()
        except MissingResource:
            return ""
        except ContractError as error:
            return str(error)
        factor = files.factor()
        if images.size % factor:
            return (
                f"expected images whose side is a multiple of {factor}, got {images.size}; set the "
                "size of the dataset"
            )
        if pipeline and images.conditions == "classes":
            return (
                "expected captions, or nothing, as what images are asked for by, got classes; use "
                "a data set with captions, or set host.sampler to denoiser"
            )
        latent = files.latent(images.size)
        if self.params.sampler == "denoiser" and latent[1] % self.params.patch:
            return (
                f"expected latents whose side is a multiple of the denoiser's patch, "
                f"{self.params.patch}, got {latent[1]}; set host.patch"
            )
        return self._too_many(images, math.prod(latent))

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """See `Host.output_shapes`."""
        try:
            return dict(self._files().decoder_shapes())
        except (MissingResource, ContractError):
            return {}

    def fit(self, images: SampleStream, ctx: Context) -> State:
        """Reads the files and fits the sampler to encoded photographs; may train a denoiser."""
        from fpbench_latent_diffusion import training

        return training.fit(f"host {self.name}", self._files(), images, self.params, ctx)

    def assemble(self, state: State, ctx: Context) -> Generator:
        """Weights (N, Z) of components through "components" to latents, "decoder" to images.

        Where photographs are sampled, "decoder" is the only step; of noise, and of a class or a
        prompt, "denoiser" makes the latents.
        """
        from fpbench_latent_diffusion import training

        return training.assemble(state, self.params, ctx)

    def untrained(self, state: State, ctx: Context) -> Generator:
        """The same sampler, and a decoder with fresh weights."""
        from fpbench_latent_diffusion import training

        return training.untrained(state, self.params, ctx)

    def encode(
        self, state: State, samples: Tensor, ctx: Context, step: str | None = None
    ) -> Tensor:
        """What goes into the first step, or into "decoder": the encoder's latents (N, C, h, w).

        Raises:
            ContractError: what is asked for is the noise that a denoiser begins with.
        """
        from fpbench_latent_diffusion import training

        return training.encode(state, samples, ctx, step)

    def finetune(
        self,
        state: State,
        generator: Generator,
        images: Tensor,
        learning_rate: float,
        marks: Sequence[int],
        ctx: Context,
    ) -> Iterator[tuple[int, Generator]]:
        """Squared error to photographs, from their latents through the decoder and what follows."""
        from fpbench_latent_diffusion import training

        batch = self.params.tuning_batch
        yield from training.finetune(state, generator, images, learning_rate, marks, batch, ctx)

    def unpack(self, packed: State, ctx: Context) -> Generator:
        """See `Host.unpack`."""
        from fpbench_latent_diffusion import training

        who = f"host {self.name}: unpack"
        return training.unpacked(who, packed, self._files(), self.params, ctx)

    def _too_many(self, images: SampleInfo, numbers: int) -> str:
        """Why there are not so many principal components of latents of so many numbers."""
        count = min(self.params.images, images.counts["train"])
        if self.params.sampler != "gaussian" or self.params.components <= min(count - 1, numbers):
            return ""
        return (
            f"expected at most {min(count - 1, numbers)} components of {count} photographs, whose "
            f"latents have {numbers} numbers, got {self.params.components}; set host.components"
        )

    def _files(self) -> layout.Files:
        return layout.find(f"host {self.name}", self._place(), self.params.encoder, "host.")

    def _place(self) -> str:
        p = self.params
        return hub.place_of(f"host {self.name}", p.autoencoder, p.hub, p.revision)


@hookimpl
def fpbench_hosts() -> list[type[Host[Any]]]:
    """The host."""
    return [LatentDiffusion]

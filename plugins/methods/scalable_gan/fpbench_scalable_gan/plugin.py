"""The method `scalable-gan`: registration and card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Attack,
    Card,
    Context,
    Evidence,
    Generator,
    Host,
    Method,
    Needs,
    Offer,
    Placement,
    Refusal,
    SampleInfo,
    SampleStream,
    State,
    TrainedHost,
    hookimpl,
)
from fpbench.nn import limits
from fpbench_scalable_gan.params import ScalableGANParams

if TYPE_CHECKING:
    from torch import Tensor


class ScalableGAN(Method[ScalableGANParams]):
    """The code drives the modulation of a generator trained together with its reader."""

    name = "scalable-gan"
    version = "4"
    Params = ScalableGANParams
    placement = Placement.IN_MODEL
    keeps_sample = False
    builds_on_host = False
    uses_host = False
    gate = 0.95
    card = Card(
        "Scalable GAN fingerprinting",
        "Yu, Skripniuk, Chen, Davis, Fritz, ICLR 2022",
        "Apache-2.0",
        "A generator of its own: the code drives the style of every convolution, the latent enters "
        "at 4x4 pixels; a user's styles are folded into plain weights, so that a copy costs "
        "milliseconds.",
        "Samples with constant noise inputs; the discriminator's fakes are the generator's of the "
        "same step; both images of a latent are read, rounded to 8 bits. With pair_steps: trained "
        "first on paired latents of images with the code switched off, then jointly with all four "
        "losses of the paper plus the paired one. The default architecture, compact: small "
        "networks; the mapping is one linear layer; the weights of the losses are fpbench's own; "
        "no path-length loss, no noise inputs. Immunised training has fpbench's own ranges. Of a "
        "batch cut into pieces or over devices, the minibatch deviation and the mean of path "
        "lengths see a piece.",
        bibtex="@inproceedings{yu2022responsible,\n"
        "  title = {Responsible Disclosure of Generative Models Using Scalable "
        "Fingerprinting},\n"
        "  author = {Yu, Ning and Skripniuk, Vladislav and Chen, Dingfan and Davis, Larry "
        "and Fritz, Mario},\n"
        "  booktitle = {International Conference on Learning Representations},\n"
        "  year = {2022},\n"
        "}",
    )

    def objection(self, info: SampleInfo, users: int) -> str:
        """Sides must be powers of two, and a batch must be there to draw."""
        del users
        return limits.objection(info, self.params.batch)

    def refuse(self, host: Host[Any], attack: Attack[Any] | None) -> Refusal | None:
        """Where a host's latents are of another kind or length: nothing of them would pair."""
        del attack
        if Offer.GAUSSIAN not in host.offers:
            return Refusal(
                f"its latents are one normal tensor, and those of {host.name} are not; use a host "
                "that offers gaussian"
            )
        own = self.params.latent_dim
        its = host.params.model_dump().get("latent_dim", own)
        if its == own:
            return None
        return Refusal(
            f"its latents have {own} numbers and the host's {its}; set latent_dim = {its}"
        )

    def needs(self) -> Needs:
        """Room for one training, as it was measured."""
        return Needs(memory_gib=2.0 if self.params.architecture == "compact" else 12.0)

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Trains a generator of its own on the images; pairs with their principal components."""
        from fpbench_scalable_gan import training

        del host
        return training.fit(images, self.params, ctx)

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """One step, "generator": the user's styles folded into ordinary convolutions."""
        from fpbench.nn.generator import ChainGenerator
        from fpbench.nn.state import placed
        from fpbench_scalable_gan import training

        del host
        network = training.restore(state, self.params, ctx.device)
        user = network.folded(issued["code"].to(ctx.device)).eval().requires_grad_(False)
        user = placed(user, ctx.device)
        return ChainGenerator({"generator": user}, int(state["latent_dim"]), ctx.device)

    def unpack(self, packed: State, host: Host[Any], ctx: Context) -> Generator:
        """See `Method.unpack`; it takes nothing of the host."""
        from fpbench.api.packing import alone
        from fpbench.nn.generator import ChainGenerator
        from fpbench_scalable_gan import training

        del host
        weights = alone(f"method {self.name}: unpack", packed, "generator")
        user = training.unpack(weights, self.params, ctx.device)
        return ChainGenerator({"generator": user}, self.params.latent_dim, ctx.device)

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """Logits of the reader."""
        from fpbench_scalable_gan import training

        del host, ctx
        return training.extract(state, evidence.samples, self.params)


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The method."""
    return [ScalableGAN]

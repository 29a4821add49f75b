"""The method `gaussian-shading`: registration and card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Card,
    Context,
    Evidence,
    Generator,
    Host,
    Method,
    Needs,
    Offer,
    Placement,
    SampleStream,
    State,
    TrainedHost,
    User,
    hookimpl,
)
from fpbench_gaussian_shading.params import GaussianShadingParams

if TYPE_CHECKING:
    from torch import Tensor


class GaussianShading(Method[GaussianShadingParams]):
    """A copy draws latents whose signs carry its code, encrypted; the host's `encode` finds them.

    The owner keeps R pads. Which of them a sample is under follows from its seed alone, and the
    extractor keeps the one whose replicates agree most: it is chosen without any code, so that the
    null over codes is exact although R are tried.
    """

    name = "gaussian-shading"
    version = "1"
    Params = GaussianShadingParams
    placement = Placement.SAMPLER
    keeps_sample = False
    trains = False
    asks = frozenset({Offer.ENCODE, Offer.GAUSSIAN})
    card = Card(
        "Gaussian Shading",
        "Yang, Zeng, Chen, Fang, Zhang, Yu, CVPR 2024",
        "Apache-2.0",
        "Repeats a code over the latents, encrypts it, and draws each latent from the half of the "
        "normal distribution that its bit names. The host is not changed, so that whoever holds "
        "it can draw latents of his own.",
        "The host's own encoder instead of the inversion of a diffusion; a few pads, one of which "
        "a sample's seed chooses, instead of a new key for each image, so that many images of one "
        "copy show its patterns; all users' copies are under the same pads, so that two of them "
        "show where their codes differ; votes are weighted by how well each latent is inverted.",
        bibtex="@inproceedings{yang2024gaussian,\n"
        "  title = {{Gaussian Shading}: Provable Performance-Lossless Image Watermarking for "
        "Diffusion Models},\n"
        "  author = {Yang, Zijin and Zeng, Kai and Chen, Kejiang and Fang, Han and Zhang, Weiming "
        "and Yu, Nenghai},\n"
        "  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},\n"
        "  year = {2024},\n"
        "}",
    )

    def needs(self) -> Needs:
        """Room for the host."""
        return Needs(memory_gib=1.0)

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Draws the pads and measures the round trip; trains nothing.

        Raises:
            ContractError: the host has fewer latents than there are bits, or its `encode` does not
                bring them back.
        """
        from fpbench_gaussian_shading import roundtrip

        del images
        return roundtrip.fit(host, self.params, ctx)

    def issue(
        self, state: State, host: TrainedHost, user: User, samples: SampleStream, ctx: Context
    ) -> State:
        """The user's encrypted codewords (R, D) bool; neither his code nor the pads."""
        from fpbench_gaussian_shading.shading import encrypted

        del host, samples, ctx
        pads = state["pads"]
        return {"codewords": encrypted(user.code.to(pads.device), pads)}

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The host with a step "prior" that marks latents."""
        from fpbench_gaussian_shading.shading import Shading

        del state
        return host.generator.replace("prior", Shading(issued["codewords"].to(ctx.device)))

    def unpack(self, packed: State, host: Host[Any], ctx: Context) -> Generator:
        """See `Method.unpack`; behind the codewords, the host's own steps."""
        from fpbench.api.packing import taken
        from fpbench_gaussian_shading.shading import Shading

        own, rest = taken(f"method {self.name}: unpack", packed, "prior")
        prior = Shading(own["codewords"].to(ctx.device))
        return host.unpack(rest, ctx).replace("prior", prior)

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """Log-odds of bits, under the stream whose replicates agree most."""
        from fpbench_gaussian_shading.roundtrip import encoded
        from fpbench_gaussian_shading.shading import decode

        log_odds = encoded(host, evidence.samples, ctx) * state["slopes"]
        return decode(log_odds, state["pads"], self.params.bits)


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The method."""
    return [GaussianShading]

"""The method `stable-signature`: registration and card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Card,
    Context,
    Evidence,
    Generator,
    Method,
    Needs,
    Offer,
    Placement,
    SampleInfo,
    SampleStream,
    State,
    TrainedHost,
    User,
    hookimpl,
)
from fpbench_stable_signature.params import StableSignatureParams

if TYPE_CHECKING:
    from torch import Tensor


class StableSignature(Method[StableSignatureParams]):
    """An extractor of post-hoc marks, and for each user a host fine-tuned to be read by it."""

    name = "stable-signature"
    version = "1"
    Params = StableSignatureParams
    placement = Placement.IN_MODEL
    keeps_sample = True
    uses_host = False
    asks = frozenset({Offer.WEIGHTS})
    gate = 0.95
    card = Card(
        "Stable Signature",
        "Fernandez, Couairon, Jégou, Douze, Furon, ICCV 2023",
        "Apache-2.0",
        "An extractor is trained beside an embedder of marks on photographs and whitened; then, "
        "for each user, the step of the host that makes its images is fine-tuned for a short time "
        "until the extractor reads his code from whatever it makes.",
        "The image loss of the fine-tuning is the squared difference to the host's image instead "
        "of a Watson-VGG loss, which would need the weights of a backbone. Adam instead of Lamb; "
        "group instead of batch normalisation; the code passes a dense layer instead of being "
        "repeated at every place; the extractor's pool has places. Crops are brought back to full "
        "size; JPEG is a real codec. Where the host's latents go straight into its output step, or "
        "it encodes nothing, latents are drawn instead of encoded.",
        bibtex="@inproceedings{fernandez2023stable,\n"
        "  title = {The Stable Signature: Rooting Watermarks in Latent Diffusion Models},\n"
        "  author = {Fernandez, Pierre and Couairon, Guillaume and J{\\'e}gou, Herv{\\'e} and "
        "Douze, Matthijs and Furon, Teddy},\n"
        "  booktitle = {IEEE/CVF International Conference on Computer Vision},\n"
        "  year = {2023},\n"
        "}",
    )

    def objection(self, info: SampleInfo, users: int) -> str:
        """Images must divide into patches and places, and whitening needs more of them than bits.

        Any number of users may follow one training.
        """
        del users
        p = self.params
        unit = p.patch * p.places * (1 if p.patch * p.places % 2 == 0 else 2)
        if info.size % unit:
            return (
                f"expected images whose side is a multiple of {unit} pixels, got {info.size}; set "
                "[dataset] size, or other `patch` and `places`"
            )
        count = min(info.counts["train"], p.whitened)
        if count <= p.bits:
            return (
                f"expected more images than bits to whiten on, got {count} for {p.bits} bits; give "
                "the data set more, set `whitened` to more, or set fewer `bits`"
            )
        return ""

    def needs(self) -> Needs:
        """Room for one training."""
        return Needs(memory_gib=1.5)

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Trains and whitens the extractor on photographs; the embedder is thrown away."""
        from fpbench_stable_signature import extracting

        del host
        return extracting.fit(images, self.params, ctx)

    def issue(
        self, state: State, host: TrainedHost, user: User, samples: SampleStream, ctx: Context
    ) -> State:
        """Fine-tunes a copy of the host's output step until the user's code is read from it."""
        from fpbench_stable_signature import copies, extracting

        extractor = extracting.restore(state, self.params, ctx.device)
        return copies.issue(host, extractor, user.code, samples, self.params, ctx)

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The host with the fine-tuned weights in its output step; neither code nor extractor."""
        from fpbench_stable_signature import copies

        del state, ctx
        return copies.assemble(host.generator, issued)

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """Logits of the extractor."""
        from fpbench_stable_signature import extracting

        del host, ctx
        return extracting.extract(state, evidence.samples, self.params)


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The method."""
    return [StableSignature]

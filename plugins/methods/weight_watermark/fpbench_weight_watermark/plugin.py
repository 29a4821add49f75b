"""The method `weight-watermark`: registration and card."""

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
    Reads,
    SampleStream,
    State,
    TrainedHost,
    User,
    hookimpl,
)
from fpbench_weight_watermark.params import WeightWatermarkParams

if TYPE_CHECKING:
    from torch import Tensor

    from fpbench.nn.weights import Place


class WeightWatermark(Method[WeightWatermarkParams]):
    """A code in the signs of secret projections of one convolution's mean kernel."""

    name = "weight-watermark"
    version = "1"
    Params = WeightWatermarkParams
    placement = Placement.IN_MODEL
    reads = Reads.WEIGHTS
    keeps_sample = True
    trains = False  # fit draws a key; what is trained is trained for each user
    asks = frozenset({Offer.WEIGHTS, Offer.CONVOLUTIONS})
    gate = 0.99
    card = Card(
        "Weight watermark",
        "Uchida, Nagai, Sakazawa, Satoh, ICMR 2017",
        "Apache-2.0",
        "A short training of one convolution puts a user's code into the signs of secret "
        "projections of its kernel, averaged over filters. It is read from a copy's weights: "
        "images tell nothing.",
        "A host's copies, one code each, instead of one classifier; embedded into a trained "
        "network, whose other layers stay, and whose task is to draw what the host draws; weights "
        "in units of the kernel's root mean square, since hosts store them at any scale; no two "
        "bits of the matrices direct and diff share a weight.",
        bibtex="@inproceedings{uchida2017embedding,\n"
        "  title = {Embedding Watermarks into Deep Neural Networks},\n"
        "  author = {Uchida, Yusuke and Nagai, Yuki and Sakazawa, Shigeyuki and "
        "Satoh, Shin'ichi},\n"
        "  booktitle = {ACM International Conference on Multimedia Retrieval},\n"
        "  year = {2017},\n"
        "}",
    )

    def needs(self) -> Needs:
        """Room for one training."""
        return Needs(memory_gib=1.5)

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Draws the owner's secret matrix, `key` (K, M)."""
        from fpbench.nn.weights import weights
        from fpbench_weight_watermark import networks

        del images
        kernel = weights(host.generator)[self._place(host)]
        size, rng = kernel[0].numel(), ctx.rng("key")
        key = networks.draw_key(self.params.key, self.params.bits, size, rng)
        return {"key": key.to(ctx.device)}

    def issue(
        self, state: State, host: TrainedHost, user: User, samples: SampleStream, ctx: Context
    ) -> State:
        """Trains the user's `kernel` (O, C, k, k); needs no photographs."""
        from fpbench_weight_watermark import training

        del samples
        place = self._place(host)
        kernel = training.embed(host.generator, place, state["key"], user.code, self.params, ctx)
        return {"kernel": kernel}

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The host's generator with the user's kernel in the place of its own."""
        from fpbench.nn.weights import exchanged

        del state, ctx
        return exchanged(host.generator, {self._place(host): issued["kernel"]})

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """(1, K) projections of the copy's mean kernel; 0 where that kernel is gone."""
        from fpbench.nn.weights import weights
        from fpbench_weight_watermark import networks

        del ctx
        return networks.read(state["key"], weights(evidence.copy).get(self._place(host)))

    def _place(self, host: TrainedHost) -> Place:
        from fpbench_weight_watermark import networks

        p = self.params
        room = 2 * p.bits if p.key == "diff" else p.bits + 1
        return networks.carrier(host.generator, p.layer, room)


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The method."""
    return [WeightWatermark]

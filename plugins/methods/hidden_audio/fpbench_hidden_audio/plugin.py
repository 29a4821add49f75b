"""The method `hidden-audio`: registration and card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Card,
    Context,
    Evidence,
    Method,
    Needs,
    PostHocMethod,
    SampleInfo,
    SampleStream,
    State,
    TrainedHost,
    hookimpl,
)
from fpbench_hidden_audio.params import HiddenAudioParams

if TYPE_CHECKING:
    from torch import Generator as RandomGenerator
    from torch import Tensor
    from torch.nn import Module


class HiddenAudio(PostHocMethod[HiddenAudioParams]):
    """An embedder marks finished sounds, an extractor reads them."""

    name = "hidden-audio"
    version = "1"
    Params = HiddenAudioParams
    modalities = frozenset({"audio"})
    gate = 0.95
    card = Card(
        "Small networks after AudioSeal",
        "San Roman, Fernandez, Elsahar, Défossez, Furon, Tran, ICML 2024",
        "Apache-2.0",
        "Embedder and extractor trained together with noise layers between them: noise, filters, "
        "other rates, level, µ-law, echo, reverberation, shifts, crops, smoothing and silence. The "
        "code is the same at every time of a sound, and read at every time. It marks finished "
        "sounds, so that whoever holds the model can leave it out.",
        "The mark turns parts of a short-time spectrum up and down instead of adding a waveform, "
        "and is read from logarithms of magnitudes; it keeps to a ratio of signal to noise instead "
        "of losses of perception; no adversary, no speeds and no codecs in training; the extractor "
        "says which moments to believe instead of where a mark is.",
        bibtex="@inproceedings{sanroman2024audioseal,\n"
        "  title = {Proactive Detection of Voice Cloning with Localized Watermarking},\n"
        "  author = {San Roman, Robin and Fernandez, Pierre and Elsahar, Hady and D{\\'e}fossez, "
        "Alexandre and Furon, Teddy and Tran, Tuan},\n"
        "  booktitle = {International Conference on Machine Learning},\n"
        "  year = {2024},\n"
        "}",
    )

    def objection(self, info: SampleInfo, users: int) -> str:
        """Why it cannot be trained on such sounds."""
        del users
        if info.size < 4 * self.params.frame:
            return (
                f"expected sounds of at least four windows, {4 * self.params.frame} samples, got "
                f"{info.size}; set a smaller `frame`, or take longer sounds"
            )
        if (count := info.counts["train"]) < self.params.batch:
            return f"expected at least a batch of {self.params.batch} sounds, got {count}"
        return ""

    def needs(self) -> Needs:
        """Room for one training."""
        return Needs(memory_gib=1.5)

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Trains on sounds of the data set and as many of the host."""
        from fpbench.nn import latents
        from fpbench_hidden_audio import training

        def draw(count: int, rng: RandomGenerator) -> Tensor:
            return host.generator.sample(latents.drawn(host, count, images, rng, ctx.device))

        return training.fit(images, draw, self.params, ctx)

    def embedder(self, state: State, ctx: Context) -> Module:
        """See `PostHocMethod.embedder`; the extractor is no part of it."""
        from fpbench.nn.state import part

        return self.embedder_of(part(state, "embedder"), ctx)

    def embedder_of(self, weights: State, ctx: Context) -> Module:
        """See `PostHocMethod.embedder_of`."""
        from fpbench_hidden_audio import training

        return training.restore(weights, self.params, ctx.device)

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """Logits of the extractor."""
        from fpbench_hidden_audio import training

        del host
        return training.extract(state, ctx.modality.to_float(evidence.samples), self.params)


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The method."""
    return [HiddenAudio]

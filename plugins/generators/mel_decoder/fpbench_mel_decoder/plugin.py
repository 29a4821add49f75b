"""The host `mel-decoder`: registration and card."""

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
from fpbench_mel_decoder.params import HOP, MelDecoderParams

if TYPE_CHECKING:
    from torch import Tensor


class MelDecoder(Host[MelDecoderParams]):
    """Half a second of speech, from normal weights of what describes it."""

    name = "mel-decoder"
    version = "1"
    Params = MelDecoderParams
    modalities = frozenset({"audio"})
    card = Card(
        "Mel decoder",
        "own; after WaveGAN (Donahue, McAuley, Puckette, ICLR 2019) and neural source-filter "
        "models (Wang, Takaki, Yamagishi, ICASSP 2019)",
        "Apache-2.0",
        "A convolutional decoder from a mel spectrum, a pitch and how voiced a sound is to the "
        "wave. What it decodes is drawn from a normal distribution over the principal components "
        "of what real sounds are described by. It was trained to reproduce the spectra of real "
        "sounds from their own description: it is no GAN, and nothing has learnt to choose what is "
        "said.",
        "Of WaveGAN the decoder's shape alone: convolutions that make four neighbours of each "
        "place. A pulse train at the pitch, and noise that is always the same, go into the last "
        "two stages. Its loss is that of spectra at four resolutions; there is no discriminator.",
    )

    def objection(self, images: SampleInfo) -> str:
        """One channel, a length of whole frames, and no more components than there are numbers."""
        p, frames = self.params, images.size // HOP
        if images.shape[0] != 1 or images.size % HOP or frames < 4 or not images.rate:
            return (
                f"expected sounds of one channel and a length of a multiple of {HOP}, {4 * HOP} or "
                f"more, got {images.shape[0]} of {images.size} samples; set the data set so"
            )
        count = images.counts["train"]
        if count < p.batch:
            return (
                f"expected at least a batch of {p.batch} sounds to train on, got {count}; give the "
                "data set more, or set a smaller host.batch"
            )
        most = min(p.sounds, count) - 1, (p.bands + 2) * frames
        if p.components > min(most):
            return (
                f"expected at most {min(most)} components of {most[0] + 1} sounds that are "
                f"described by {most[1]} numbers each, got {p.components}; set host.components"
            )
        return ""

    def needs(self) -> Needs:
        """Room for one training."""
        return Needs(memory_gib=1.5)

    def fit(self, images: SampleStream, ctx: Context) -> State:
        """Components of what sounds are described by, then the decoder by regression."""
        from fpbench_mel_decoder import training

        return training.fit(images, self.params, ctx)

    def assemble(self, state: State, ctx: Context) -> Generator:
        """Weights (N, Z) through "components" to maps (N, C, frames), through "decoder" to waves.

        Of maps the first channels are the log-mel spectrum, the last two pitch and voice.
        """
        from fpbench_mel_decoder import training

        return training.assemble(state, self.params, ctx)

    def untrained(self, state: State, ctx: Context) -> Generator:
        """The same components, and a decoder with fresh weights."""
        from fpbench_mel_decoder import training

        return training.untrained(state, self.params, ctx)

    def unpack(self, packed: State, ctx: Context) -> Generator:
        """See `Host.unpack`."""
        from fpbench_mel_decoder import training

        return training.unpacked(f"host {self.name}: unpack", packed, self.params, ctx)

    def encode(
        self, state: State, samples: Tensor, ctx: Context, step: str | None = None
    ) -> Tensor:
        """(N, Z) weights of what sounds are described by, or what the step "decoder" takes."""
        from fpbench_mel_decoder import training

        return training.encode(state, samples, self.params, ctx, step)

    def finetune(
        self,
        state: State,
        generator: Generator,
        images: Tensor,
        learning_rate: float,
        marks: Sequence[int],
        ctx: Context,
    ) -> Iterator[tuple[int, Generator]]:
        """The decoder's own loss on the sounds that come out, through all steps from there on."""
        from fpbench_mel_decoder import training

        yield from training.finetune(
            state, generator, images, self.params, learning_rate, marks, ctx
        )


@hookimpl
def fpbench_hosts() -> list[type[Host[Any]]]:
    """The host."""
    return [MelDecoder]

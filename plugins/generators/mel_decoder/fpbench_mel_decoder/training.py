"""How the decoder is trained, and how anyone may go on training it.

A regression from what a sound is described by, as its principal components know it, to a sound with
the same spectra, whatever its phases. Components have normal weights, so that the decoder can then
be fed fresh ones. That is no generator that learned from noise, and the card says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from fpbench.api import Context, ContractError, Generator, SampleStream, State
from fpbench.api.packing import alone, taken
from fpbench.nn.components import Components, fit_components
from fpbench.nn.ema import Average, warmed_decay
from fpbench.nn.generator import ChainGenerator, Tail
from fpbench.nn.schedule import adam, descend, set_rates, warm_cosine
from fpbench.nn.spectra import log_mel, mel_bank, spectral_loss
from fpbench.nn.state import filled, opened, part, prefixed
from fpbench.training import TrainingRun
from fpbench_mel_decoder.analysis import described
from fpbench_mel_decoder.networks import Decoder
from fpbench_mel_decoder.params import HOP

if TYPE_CHECKING:
    from fpbench_mel_decoder.params import MelDecoderParams

__all__ = ["assemble", "encode", "finetune", "fit", "unpacked", "untrained"]

COMPONENTS, DECODER = "components", "decoder"

_CHUNK = 256
_BETAS = (0.9, 0.99)
_MEL_SIZE, _MEL_HOP = 512, 64
_SHOWN = 8


def fit(sounds: SampleStream, p: MelDecoderParams, ctx: Context) -> State:
    """Components of the described sounds, and the decoder.

    Returns:
        ``components.mean`` (C, frames), ``components.basis`` (Z, C, frames) with each component
        times the spread of its weights, and ``decoder.*``, averaged.
    """
    info = sounds.info
    assert info.rate is not None  # sounds have one
    rate, frames = info.rate, info.size // HOP
    count = min(p.sounds, len(sounds))
    # Drawn or decoded once: a data set may take longer over a sound than a step over a batch.
    chunks = np.array_split(np.arange(count), -(-count // _CHUNK))
    real = torch.cat([sounds.read(chunk) for chunk in chunks])
    maps = torch.cat([_maps(some, rate, p, ctx) for some in torch.split(real, _CHUNK)])
    mean, basis = fit_components(maps, p.components)
    shape = maps.shape[1:]
    components = Components(mean, basis, shape).to(ctx.device)
    weights = components.weights_of(maps)
    state = {
        "components.mean": mean.view(shape),
        "components.basis": (p.temperature * basis).view(-1, *shape),
    }
    with ctx.seeded("init"):
        decoder = Decoder(bands=p.bands, frames=frames, rate=rate, channels=p.channels)
    decoder = decoder.to(ctx.device)
    average = Average(decoder)
    optimiser = adam([(decoder.parameters(), p.learning_rate)], betas=_BETAS)
    loss_of = _Loss(rate, p, ctx.device)
    latents = torch.randn(_SHOWN, p.components, generator=ctx.rng("shown")).to(ctx.device)

    @torch.no_grad()
    def sheet() -> Tensor:
        return ctx.modality.to_file(average.module(components(p.temperature * latents)))

    with TrainingRun(
        ctx,
        "decoder",
        steps=p.steps,
        modules={"decoder": decoder},
        optimisers={"decoder": optimiser},
        averages={"decoder": average},
        batch=p.batch,
    ) as run:
        for step in run:
            set_rates(optimiser, warm_cosine(step, p.steps, low=0.05))
            rows = torch.randint(count, (p.batch,), generator=run.rng("sounds"))
            chosen = rows.to(ctx.device)
            entry, wanted = components(weights[chosen]), ctx.modality.to_float(real[chosen])
            for piece in run.pieces(p.batch):
                with run.autocast():
                    made = decoder(entry[piece])
                loss = loss_of(made.float(), wanted[piece])
                run.backward(loss, piece, p.batch)
                run.log(loss=loss.detach())
            run.update(optimiser, clip=5.0)
            average.update(warmed_decay(p.average_decay, step))
            run.sheet(sheet)
            run.snapshot(lambda: state | prefixed({DECODER: average.module}))
    return state | prefixed({DECODER: average.module})


def assemble(state: State, p: MelDecoderParams, ctx: Context) -> Generator:
    """The host's steps: components, and the decoder."""
    weights = part(state, DECODER)
    decoder = filled(_built(state["components.mean"], weights, p), weights)
    return _chain(state["components.mean"], state["components.basis"], decoder, ctx)


def untrained(state: State, p: MelDecoderParams, ctx: Context) -> Generator:
    """The same with a decoder that is not trained."""
    with ctx.seeded("untrained"):
        decoder = _built(state["components.mean"], part(state, DECODER), p)().to(ctx.device)
    return _chain(state["components.mean"], state["components.basis"], decoder, ctx)


def unpacked(who: str, packed: State, p: MelDecoderParams, ctx: Context) -> Generator:
    """The host's steps again, of a file.

    Raises:
        ContractError: the file is of another host, or holds more.
    """
    weights, rest = taken(who, packed, DECODER)
    found = alone(who, rest, COMPONENTS).get("_extra_state")
    if found is None or len(rest) > 1 or "_extra_state" not in weights:
        raise ContractError(
            f"{who}: expected mean and basis of the step {COMPONENTS!r}, got {sorted(rest)}; open "
            "it with the host that it is of"
        )
    decoder = opened(who, _built(found[0], weights, p), weights).to(ctx.device)
    return _chain(found[0].to(ctx.device), found[1:].to(ctx.device), decoder, ctx)


@torch.no_grad()
def encode(
    state: State, sounds: Tensor, p: MelDecoderParams, ctx: Context, step: str | None
) -> Tensor:
    """Latents (N, Z) of sounds as files carry them, or what goes into the decoder.

    Raises:
        ContractError: there is no such step.
    """
    if step not in (None, COMPONENTS, DECODER):
        raise ContractError(
            f"host mel-decoder: expected to encode for the step {COMPONENTS!r} or {DECODER!r}, got "
            f"{step!r}; ask for one of these"
        )
    components = _components(state["components.mean"], state["components.basis"]).to(ctx.device)
    rate = int(state["decoder._extra_state"])
    latents = components.weights_of(_maps(sounds.to(ctx.device), rate, p, ctx))
    return components(latents) if step == DECODER else latents


def finetune(
    state: State,
    generator: Generator,
    sounds: Tensor,
    p: MelDecoderParams,
    learning_rate: float,
    marks: Sequence[int],
    ctx: Context,
) -> Iterator[tuple[int, Generator]]:
    """Go on with the decoder's training, on what comes out of the whole chain."""
    tail = Tail(generator).train().requires_grad_(True)
    # Of a copy whose steps were made one by an adversary, what the first of them takes.
    entry = encode(state, sounds, p, ctx, generator.output)
    loss_of = _Loss(int(state["decoder._extra_state"]), p, ctx.device)
    optimiser = adam([(tail.parameters(), learning_rate)], betas=_BETAS)
    for index in range(max(marks, default=0)):
        rng = ctx.rng("finetune", index)
        chosen = torch.randint(len(sounds), (p.batch,), generator=rng).to(sounds.device)
        with ctx.seeded("finetune", index):
            loss = loss_of(tail(entry[chosen]), ctx.modality.to_float(sounds[chosen]))
        descend(loss, optimiser)
        if index + 1 in marks:
            yield index + 1, tail.within(generator)


class _Loss:
    """How unlike sounds (N, 1, T) are by their spectra; a scalar."""

    def __init__(self, rate: int, p: MelDecoderParams, device: torch.device) -> None:
        self._bank = mel_bank(rate, _MEL_SIZE, p.bands).to(device)
        self._weight = p.mel_weight

    def __call__(self, made: Tensor, targets: Tensor) -> Tensor:
        made, targets = made[:, 0], targets[:, 0]
        mels = [log_mel(x, self._bank, _MEL_HOP) for x in (made, targets)]
        return spectral_loss(made, targets) + self._weight * (mels[0] - mels[1]).abs().mean()


def _maps(sounds: Tensor, rate: int, p: MelDecoderParams, ctx: Context) -> Tensor:
    """(N, C, frames) of sounds as files carry them."""
    return described(ctx.modality.to_float(sounds)[:, 0], rate, p.bands)


def _built(mean: Tensor, weights: State, p: MelDecoderParams) -> Callable[[], Decoder]:
    """What builds the decoder of maps like a mean (C, frames), for weights of its own."""
    frames, rate = mean.shape[-1], int(weights["_extra_state"])
    return lambda: Decoder(bands=p.bands, frames=frames, rate=rate, channels=p.channels)


def _components(mean: Tensor, basis: Tensor) -> Components:
    return Components(mean.flatten(), basis.flatten(1), mean.shape)


def _chain(mean: Tensor, basis: Tensor, decoder: nn.Module, ctx: Context) -> Generator:
    steps = {COMPONENTS: _components(mean, basis).to(ctx.device), DECODER: decoder}
    return ChainGenerator(steps, len(basis), ctx.device, ctx.modality.to_file)

"""Embedder and extractor trained together, with noise layers between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fpbench.api import Context, SampleStream, State
from fpbench.nn.ema import Average, warmed_decay
from fpbench.nn.losses import code_loss
from fpbench.nn.schedule import adam, set_rates, warm_cosine
from fpbench.nn.sound_distortions import disturb
from fpbench.nn.state import opened, part, prefixed
from fpbench.training import TrainingRun
from fpbench_hidden_audio.networks import Embedder, Reader

if TYPE_CHECKING:
    from fpbench_hidden_audio.params import HiddenAudioParams

__all__ = ["extract", "fit", "restore"]


def fit(
    sounds: SampleStream,
    host: Callable[[int, torch.Generator], Tensor],
    params: HiddenAudioParams,
    ctx: Context,
) -> State:
    """Trains on sounds of the data set and on what the host makes, half and half.

    Args:
        sounds: the training split.
        host: ``(count, rng) -> (count, C, T)`` int16 sounds of the host.
        params: settings.
        ctx: seeds, device and codes.

    Returns:
        Averaged weights: ``embedder.*``, ``reader.*``.
    """
    rate = sounds.info.rate
    assert rate, "sounds have a rate"
    with ctx.seeded("init"):
        embedder = _build(params).to(ctx.device)
        reader = _build_reader(params).to(ctx.device)
    optimiser = adam(
        [([*embedder.parameters(), *reader.parameters()], params.learning_rate)], betas=(0.9, 0.99)
    )
    modules: dict[str, nn.Module] = {"embedder": embedder, "reader": reader}
    averages = {name: Average(module) for name, module in modules.items()}
    half, batch = params.batch // 2, params.batch
    with TrainingRun(
        ctx,
        "hidden-audio",
        steps=params.steps,
        modules=modules,
        optimisers={"all": optimiser},
        averages=averages,
        batch=batch,
    ) as run:
        for step in run:
            set_rates(optimiser, warm_cosine(step, params.steps, low=0.05))
            chosen = torch.randint(len(sounds), (half,), generator=run.rng("sounds")).numpy()
            # One of the data set, one of the host, ...: every noise layer meets both kinds.
            kinds = [sounds.read(chosen), host(half, run.rng("host"))]
            covers = ctx.modality.to_float(torch.stack(kinds, 1).flatten(0, 1))
            codes = ctx.training_codes(batch, run.rng("codes"))

            # First the code must be readable at all; then it must be so faint, and then through
            # noise.
            known = run.memory.get("accuracy", 0.5)
            boost_db = params.boost_db * (1 - min(1.0, max(0.0, (known - 0.65) / 0.3)))
            noisy = known >= params.disturbed_from or step >= params.steps // 2
            right = []
            for piece in run.pieces(batch):
                with run.autocast():
                    marked = embedder(covers[piece], codes[piece], boost_db)
                    with run.autocast(exact=True):
                        seen = ctx.modality.quantise(marked)
                        draws = run.draws("distortion", piece, batch)
                        seen = disturb(seen, rate, draws) if noisy else seen
                    logits = reader(seen)
                    reading = code_loss(logits, codes[piece])
                run.backward(reading, piece, batch)
                right.append(((logits > 0) == codes[piece]).float().mean())
                run.log(reading=reading.detach(), boost_db=boost_db)
            run.update(optimiser)
            accuracy = 0.95 * known + 0.05 * run.mean(right, batch)
            run.memory["accuracy"] = accuracy
            for average in averages.values():
                average.update(warmed_decay(0.98, step))
            run.expect("the training codes' bit accuracy", accuracy, 0.6, after=0.5)
            run.log(accuracy=accuracy)

    return prefixed({name: average.module for name, average in averages.items()})


def restore(weights: State, params: HiddenAudioParams, device: torch.device) -> Embedder:
    """The trained embedder of its weights.

    Raises:
        ContractError: they are of another one.
    """
    made = opened("method hidden-audio: embedder", lambda: _build(params), weights)
    return made.to(device)


def extract(state: State, sounds: Tensor, params: HiddenAudioParams) -> Tensor:
    """Logits ``(N, K)`` of sounds ``(N, C, T)`` in [-1, 1]; each is read by itself."""
    reader = _build_reader(params)
    reader.load_state_dict(part(state, "reader"))
    reader = reader.to(sounds.device).eval()
    with torch.no_grad():
        logits: Tensor = reader(sounds)
    return logits


def _build(params: HiddenAudioParams) -> Embedder:
    return Embedder(
        bits=params.bits,
        frame=params.frame,
        channels=params.channels,
        carriers=params.carriers,
        snr_db=params.snr_db,
    )


def _build_reader(params: HiddenAudioParams) -> Reader:
    return Reader(bits=params.bits, frame=params.frame, channels=params.channels)

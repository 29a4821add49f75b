"""Training and reading of HiDDeN as published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from fpbench.api import Context, ContractError, MissingResource, SampleStream, State
from fpbench.api.images import to_float
from fpbench.nn.equalised import lifted
from fpbench.nn.schedule import adam, set_rates
from fpbench.nn.state import opened, part, placed, prefixed
from fpbench.training import TrainingRun
from fpbench_hidden import layout, paper_noise
from fpbench_hidden.paper_networks import Adversary, Extractor, PaperEmbedder

if TYPE_CHECKING:
    from fpbench_hidden.params import HiddenParams

__all__ = ["extract", "firmness", "fit", "load", "restore"]

_BETAS = (0.9, 0.999)


def fit(images: SampleStream, params: HiddenParams, ctx: Context) -> State:
    """Trains embedder, extractor and adversary on random squares of photographs.

    As in the authors' code all of them move at once, by gradients from before the step.

    Args:
        images: The training split.
        params: Settings.
        ctx: Seeds, device and codes.

    Returns:
        The last weights, with the running statistics of batch normalisation: ``embedder.*``,
        ``reader.*``.
    """
    with ctx.seeded("init"):
        embedder, reader = _build(params), _build_reader(params)
        adversary = Adversary(channels=params.channels)
    modules: dict[str, nn.Module] = {"embedder": embedder, "reader": reader}
    for module in (*modules.values(), adversary):
        placed(module, ctx.device)
    rate, batch = params.learning_rate, params.batch
    pair = adam([([*embedder.parameters(), *reader.parameters()], rate)], betas=_BETAS)
    against = adam([(adversary.parameters(), rate)], betas=_BETAS)
    layers = paper_noise.layers(params.noise)
    with TrainingRun(
        ctx,
        "hidden",
        steps=params.steps,
        modules={**modules, "adversary": adversary},
        optimisers={"all": pair, "adversary": against},
        batch=batch,
    ) as run:
        for step in run:
            chosen = torch.randint(len(images), (batch,), generator=run.rng("images")).numpy()
            places = run.draws("crops", slice(batch), batch)
            covers = to_float(paper_noise.crop(images.read(chosen), _side(step, params), places))
            codes = ctx.training_codes(batch, run.rng("codes"))
            layer = _layer(step, layers, params, run)
            known = run.memory.get("accuracy", 0.5)
            warmth = _warmth(step, params)
            set_rates(pair, warmth)
            set_rates(against, warmth)
            firm = 1.0 if warmth < 1 else firmness(known, params.least_firmness)
            weight = params.image_weight * firm
            right = []
            for piece in run.pieces(batch):
                cover, code = covers[piece], codes[piece]
                with run.autocast():
                    marked = lifted(embedder(cover, code))
                    with run.autocast(exact=True):
                        draws = run.draws("noise", piece, batch)
                        seen = layer(marked, cover, draws)
                    read = lifted(reader(seen))
                    reading = functional.mse_loss(read, code.to(read.dtype))
                    likeness = functional.mse_loss(marked, cover)
                    loss = params.message_weight * reading + weight * likeness
                    if params.adversary_weight:
                        fooling, telling = _adversarial(adversary, cover, marked)
                        loss = loss + params.adversary_weight * fooling
                        run.backward(telling, piece, batch)
                        run.log(fooling=fooling.detach(), telling=telling.detach())
                run.backward(loss, piece, batch)
                right.append(((read > 0.5) == code).float().mean())
                run.log(reading=reading.detach(), likeness=likeness.detach())
            run.update(pair)
            run.update(against)
            accuracy = 0.95 * known + 0.05 * run.mean(right, batch)
            run.memory["accuracy"] = accuracy
            run.expect("the training codes' bit accuracy", accuracy, 0.6, after=0.5)
            run.log(accuracy=accuracy)
    return prefixed(modules)


def firmness(known: float, least: float) -> float:
    """Share of the weight of likeness at a bit accuracy in training."""
    return min(1.0, max(least, (known - 0.8) / 0.15))


def load(params: HiddenParams, ctx: Context) -> State:
    """The weights of a file in the place of a training.

    Raises:
        MissingResource: it is not there.
        ContractError: it is of another kind, or of other sizes.
    """
    who, path = "method hidden: weights", Path(params.weights)
    if not path.is_file():
        raise MissingResource(
            f"{who}: expected a file at {path}, got none there; bring it, or name another place in "
            "the suite"
        )
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise ContractError(
            f"{who}: expected safetensors in {path.name}, got another file ({error}); make one of "
            "a public checkpoint with python -m fpbench_hidden.converting"
        ) from error
    expected = layout.shapes(params.bits, params.channels)
    layout.check(who, {name: tuple(t.shape) for name, t in found.items()}, expected)
    return {name: found[name].to(ctx.device) for name in expected if name in found}


def restore(weights: State, params: HiddenParams, device: torch.device) -> PaperEmbedder:
    """The trained embedder of its weights, in eval mode.

    Raises:
        ContractError: they are of another one.
    """
    embedder = opened("method hidden: embedder", lambda: _build(params), weights)
    return placed(embedder, device)


def extract(state: State, images: Tensor, params: HiddenParams) -> Tensor:
    """Logits ``(N, K)`` of uint8 images ``(N, 3, H, W)``; each image is read by itself.

    The extractor was trained towards 0 and 1: its logit is how far it is above one half.
    """
    who = "method hidden: extractor"
    reader = placed(
        opened(who, lambda: _build_reader(params), part(state, "reader")), images.device
    )
    with torch.no_grad():
        bits: Tensor = reader(to_float(images))
    return bits - 0.5


def _layer(
    step: int, layers: list[paper_noise.Layer], params: HiddenParams, run: TrainingRun
) -> paper_noise.Layer:
    """The noise layer of a step; none until bits can be read, where that is asked for."""
    read = run.memory.get("accuracy", 0.5) >= params.noise_from
    if read or 2 * step >= params.steps:
        run.memory["noisy"] = 1.0  # and stays so
    return layers[step % len(layers)] if "noisy" in run.memory else paper_noise.identity


def _side(step: int, params: HiddenParams) -> int:
    """Of the squares of a step, pixels."""
    if step < params.quartered * params.steps:
        return params.crop // 4
    return params.crop // 2 if step < params.halved * params.steps else params.crop


def _warmth(step: int, params: HiddenParams) -> float:
    """The factor of the learning rate at a step: 1, below 1 and falling to 0 over the last ones."""
    return min(1.0, (params.steps - step) / (params.cooled * params.steps + 1))


def _adversarial(adversary: Adversary, cover: Tensor, marked: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropies: the embedder's, that marked images pass for others, and the adversary's."""
    adversary.requires_grad_(False)
    fooling = _judged(adversary(marked), real=True)
    adversary.requires_grad_(True)
    real, made = adversary(cover), adversary(marked.detach())
    return fooling, _judged(real, real=True) + _judged(made, real=False)


def _judged(logits: Tensor, *, real: bool) -> Tensor:
    logits = lifted(logits)
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, real))


def _build(params: HiddenParams) -> PaperEmbedder:
    return PaperEmbedder(bits=params.bits, channels=params.channels)


def _build_reader(params: HiddenParams) -> Extractor:
    return Extractor(bits=params.bits, channels=params.channels)

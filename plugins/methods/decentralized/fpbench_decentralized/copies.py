"""How a copy of the host learns its user's key (Kim, Ren and Yang, sec. 3 and algorithm 1)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpbench.api import Context, Generator, SampleStream, State
from fpbench.api.images import quantise, to_float
from fpbench.nn.schedule import adam, set_rates, warm_cosine
from fpbench.nn.state import part, prefixed
from fpbench.training import TrainingRun
from fpbench_decentralized.keys import scores
from fpbench_decentralized.robust import distort

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpbench.nn.draws import Draws
    from fpbench_decentralized.params import DecentralizedParams

    Loss = Callable[[Tensor, Tensor, Draws], Tensor]
    """Of a copy's images, the host's of the same latents, and the draws of these images."""

__all__ = ["assemble", "drawn", "issue"]


def drawn(host: Generator, count: int, samples: SampleStream, rng: torch.Generator) -> Tensor:
    """``(count, 3, H, W)`` uint8 images of a generator, under conditions of the data set."""
    return torch.cat(
        [
            host.sample(_latents(host, min(128, count - start), samples, rng))
            for start in range(0, count, 128)
        ]
    )


def issue(
    host: Generator,
    key: Tensor,
    reach: float,
    silent: float,
    samples: SampleStream,
    params: DecentralizedParams,
    ctx: Context,
) -> State:
    """One user's copy of the host's output step.

    Args:
        host: The generator to copy; not changed.
        key: ``(3, H, W)`` of unit length.
        reach: Largest |score| of images without the mark: what the mark must outdo.
        silent: Share of real images with a score below 0.
        samples: The data set, for conditions where the host takes some.
        params: Settings.
        ctx: Seeds and device.

    Returns:
        ``step.*``, the weights of the step; ``distinguishability`` and, with no robust training,
        the ``gamma`` at which it was reached, scalars.
    """
    step = copy.deepcopy(host.steps[host.output]).eval().requires_grad_(True)
    marked = host.replace(host.output, step)

    def judge() -> float:
        images = drawn(marked, params.judged, samples, ctx.rng("judge"))
        fires = (scores(to_float(images), key[None]) > 0).float().mean()
        return (silent + float(fires)) / 2

    if params.robust != "none":
        _learn(step, host, _robust(key, params), "robust", params.steps, samples, params, ctx)
        return prefixed({"step": step}) | {"distinguishability": torch.tensor(judge())}
    gamma, found = reach, 0.0
    for number in range(params.rounds):
        gamma *= params.growth if number else 1
        steps = params.round_steps if number else params.steps
        _learn(step, host, _shifted(gamma * key), f"round {number}", steps, samples, params, ctx)
        found = judge()
        ctx.curve("rounds", number, {"gamma": gamma, "distinguishability": found})
        if found >= 1 - params.delta:
            break
    told = {"distinguishability": torch.tensor(found), "gamma": torch.tensor(gamma)}
    return prefixed({"step": step}) | told


def assemble(host: Generator, issued: State) -> Generator:
    """The host with the copy's step in the place of its own."""
    step = copy.deepcopy(host.steps[host.output])
    step.load_state_dict(part(issued, "step"))
    return host.replace(host.output, step.eval().requires_grad_(False))


def _learn(
    step: nn.Module,
    host: Generator,
    loss_of: Loss,
    name: str,
    steps: int,
    samples: SampleStream,
    params: DecentralizedParams,
    ctx: Context,
) -> None:
    """Trains the step in place."""
    marked = host.replace(host.output, step)
    optimiser = adam([(step.parameters(), params.learning_rate)], betas=(0.9, 0.99))
    with TrainingRun(
        ctx,
        name,
        steps=steps,
        modules={"step": step},
        optimisers={"all": optimiser},
        batch=params.batch,
    ) as run:
        for number in run:
            set_rates(optimiser, warm_cosine(number, steps, low=0.1, warmup=10))
            for piece in run.pieces(params.batch):
                with run.autocast():
                    with torch.no_grad():
                        rng = run.rng("latents")
                        entry = host.run(
                            _latents(host, params.batch, samples, rng, piece), until=host.output
                        )
                        target = host.run(entry, first=host.output)
                    images = marked.run(entry, first=host.output)
                    with run.autocast(exact=True):
                        draws = run.draws("distortion", piece, params.batch)
                        loss = loss_of(images.float(), target.float(), draws)
                run.backward(loss, piece, params.batch)
                run.log(loss=loss.detach())
            run.update(optimiser)


def _shifted(shift: Tensor) -> Loss:
    """Algorithm 1: the host's image plus the mark, whatever the image."""
    return lambda images, target, _: (images - target - shift).square().mean()


def _robust(key: Tensor, params: DecentralizedParams) -> Loss:
    """Eq. 8: the key fires on distorted images too, as close to the host's as that allows."""

    def loss(images: Tensor, target: Tensor, draws: Draws) -> Tensor:
        seen = distort(quantise(images), params.robust, draws)
        hinge = functional.relu(1 - scores(seen, key[None])).mean()
        return hinge + params.likeness_weight * (images - target).square().mean()

    return loss


def _latents(
    host: Generator,
    count: int,
    samples: SampleStream,
    rng: torch.Generator,
    piece: slice = slice(None),
) -> object:
    seeds = torch.randint(2**62, (count,), generator=rng)[piece].tolist()
    chosen = torch.randint(len(samples), (count,), generator=rng)[piece]
    return host.prior(seeds, samples.conditions(chosen.numpy()))

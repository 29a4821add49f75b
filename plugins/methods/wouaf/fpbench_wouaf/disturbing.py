"""Other weights for some steps of a training: noise, and where fine-tuning takes them.

Random noise is that of wide flat minima (Fei, Xia, Tondi, Barni, arXiv:2310.16919): the code must
be read wherever weights stand within some distance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fpbench.api import Context, Generator, SampleStream, TrainedHost
from fpbench.training import TrainingRun

if TYPE_CHECKING:
    from fpbench_wouaf.params import WouafParams

__all__ = [
    "TUNING_IMAGES",
    "TUNING_RATE",
    "Disturbance",
    "disturbed",
    "drawn_for",
    "drifts",
    "may_be_disturbed",
    "moves",
]

_KNOWN = 0.9  # training accuracy from which on weights are disturbed
_LEAST_SHARE = 0.3  # of a drift that is added
TUNING_IMAGES = 128
TUNING_RATE = 1e-4
_TUNING_MARKS = (3, 10, 30, 100)

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Disturbance:
    """What is added to the weights of a network in one step.

    Attributes:
        noise: its size, relative to each tensor's deviation; 0 = none.
        seed: of the noise.
        worst: whether it points up the gradient of the code's loss instead.
        drift: differences of weights; none = no drift.
        share: of them that is added.
    """

    noise: float = 0.0
    seed: int = 0
    worst: bool = False
    drift: Weights = field(default_factory=dict)
    share: float = 0.0


def may_be_disturbed(known: float, moves: Sequence[Weights], params: WouafParams) -> bool:
    """Whether weights are disturbed in half of the steps now: once codes can be read."""
    return known >= _KNOWN and bool(params.noise or moves)


def drawn_for(
    run: TrainingRun, known: float, moves: Sequence[Weights], params: WouafParams
) -> Disturbance | None:
    """The disturbance of the present step: none in every second one, nor before codes are read."""
    if not may_be_disturbed(known, moves, params):
        return None
    rng = run.rng("disturbance")
    often, noise, share = torch.rand(3, generator=rng).tolist()
    if often < 0.5:
        return None
    seed = int(torch.randint(2**62, (1,), generator=rng))
    drift = moves[int(torch.randint(len(moves), (1,), generator=rng))] if moves else {}
    least = _LEAST_SHARE
    return Disturbance(
        noise * params.noise, seed, params.worst_case, drift, least + (1 - least) * share
    )


@contextmanager
def disturbed(
    network: nn.Module, disturbance: Disturbance | None, reading: Callable[[], tuple[Tensor, ...]]
) -> Iterator[None]:
    """While open, the weights of a network are others; gradients are those at the others.

    Args:
        network: in place.
        disturbance: None = nothing.
        reading: gives, last, the loss of the code, for noise in the worst direction.
    """
    if disturbance is None:
        yield
        return
    named = dict(network.named_parameters())
    before = {name: value.detach().clone() for name, value in named.items()}
    directions = _directions(named, disturbance, reading) if disturbance.noise else {}
    with torch.no_grad():
        for name, value in named.items():
            if name in disturbance.drift:
                value.add_(disturbance.drift[name], alpha=disturbance.share)
            if name in directions:
                spread = before[name].std() if value.numel() > 1 else before[name].abs()
                value.add_(directions[name] * (spread * disturbance.noise))
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in named.items():
                value.copy_(before[name])


def _directions(
    named: Mapping[str, nn.Parameter],
    disturbance: Disturbance,
    reading: Callable[[], tuple[Tensor, ...]],
) -> dict[str, Tensor]:
    """Noise of unit size for each tensor."""
    if not disturbance.worst:
        rng = torch.Generator().manual_seed(disturbance.seed)  # all pieces meet the same
        return {
            name: torch.randn(value.shape, generator=rng).to(value.device)
            for name, value in named.items()
        }
    learning = {name: value for name, value in named.items() if value.requires_grad}
    gradients = torch.autograd.grad(reading()[-1], list(learning.values()), allow_unused=True)
    return {
        name: gradient / gradient.square().mean().sqrt().clamp_min(1e-20)
        for name, gradient in zip(learning, gradients, strict=True)
        if gradient is not None  # type: ignore[redundant-expr]
    }


def drifts(
    host: TrainedHost, samples: SampleStream, params: WouafParams, ctx: Context
) -> list[Weights]:
    """How the output step's weights move as the owner fine-tunes the host on photographs.

    Some copies with photographs of their own, each as it is after few and after many steps.
    """
    found: list[Weights] = []
    for number in range(params.drift):
        rng = ctx.rng("drift photographs", number)
        chosen = torch.randperm(len(samples), generator=rng)[:TUNING_IMAGES].numpy()
        own = ctx.branch("drift", number)
        found += moves(host, host.generator, samples.read(chosen), _TUNING_MARKS, own)
    return found


def moves(
    host: TrainedHost, generator: Generator, photographs: Tensor, marks: Sequence[int], ctx: Context
) -> list[Weights]:
    """How the weights of a generator's output step have moved at some steps of a fine-tuning.

    Args:
        host: whose public objective it is.
        generator: what is tuned; not changed.
        photographs: (M, 3, H, W) uint8.
        marks: rising step counts.
        ctx: seeds and device.
    """
    output = generator.output
    before = {name: w.detach() for name, w in generator.steps[output].named_parameters()}
    tuned = host.component.finetune(host.state, generator, photographs, TUNING_RATE, marks, ctx)
    return [
        {n: w.detach() - before[n] for n, w in after.steps[output].named_parameters()}
        for _, after in tuned
    ]

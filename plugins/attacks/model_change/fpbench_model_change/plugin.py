"""Changes to the model that a user holds."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from fpbench.api import (
    Access,
    Attack,
    Card,
    Context,
    Generator,
    ModelAttack,
    Params,
    Strength,
    Surface,
    hookimpl,
)


class NoParams(Params):
    """An attack without parameters beside its strength."""


class WeightNoise(ModelAttack[NoParams]):
    """Gaussian noise on every parameter tensor, relative to the tensor's own spread."""

    name = "weight-noise"
    version = "1"
    Params = NoParams
    family = "weight noise"
    access = frozenset({Access.COPY})
    strength = Strength(
        "sigma", "of each tensor's spread", (0.05, 0.1, 0.2, 0.4), 0, 10, identity=0
    )
    card = Card(
        "Weight noise",
        "named as weight modulation's weakness by Kim et al.; grid is fpbench's own",
        "Apache-2.0",
        "Adds white noise to the weights; σ is relative to the standard deviation of each tensor.",
    )

    def apply(
        self, surface: Surface, strengths: Sequence[float], ctx: Context
    ) -> Iterator[tuple[float, Generator]]:
        """One noise direction per copy, scaled to each strength."""
        import torch

        original = surface.copy
        for strength in strengths:
            noisy = original
            for name, step in original.steps.items():
                changed = copy.deepcopy(step)
                for number, parameter in enumerate(changed.parameters()):
                    # A single number has no spread; its size stands in.
                    value = parameter.detach()
                    spread = value.std() if value.numel() > 1 else value.abs()
                    rng = ctx.rng(f"weight-noise/{name}", number)
                    noise = torch.randn(value.shape, generator=rng).to(value.device)
                    parameter.data = value + strength * spread * noise
                noisy = noisy.replace(name, changed)
            yield strength, noisy


class FineTuneParams(Params):
    """The adversary's training.

    Attributes:
        learning_rate: Adam's.
    """

    learning_rate: Annotated[float, Field(gt=0)] = 1e-3


class FineTune(ModelAttack[FineTuneParams]):
    """The host's public objective on clean images, a few steps along one trajectory."""

    name = "fine-tune"
    version = "1"
    Params = FineTuneParams
    family = "fine-tuning"
    access = frozenset({Access.COPY, Access.CLEAN_IMAGES, Access.PUBLIC_HOST})
    strength = Strength("steps", "steps", (1, 3, 10, 30), 1, 1_000_000, whole=True)
    trains = True
    card = Card(
        "Fine-tuning",
        "model purification, as in WOUAF and Stable Signature",
        "Apache-2.0",
        "Goes on training the copy with the host's public objective on clean images.",
    )

    def apply(
        self, surface: Surface, strengths: Sequence[float], ctx: Context
    ) -> Iterator[tuple[float, Generator]]:
        """Strengths are step counts on one trajectory."""
        host = surface.public_host
        marks = [int(s) for s in sorted(strengths)]
        trajectory = host.component.finetune(
            host.state,
            surface.copy,
            surface.clean_images,
            self.params.learning_rate,
            marks,
            ctx,
        )
        for mark, tuned in trajectory:
            yield float(mark), tuned


@hookimpl
def fpbench_attacks() -> list[type[Attack[Any]]]:
    """Model attacks."""
    return [WeightNoise, FineTune]

"""Going on with the host's public training, from a copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from fpbench.api import (
    Access,
    Card,
    Context,
    Generator,
    ModelAttack,
    Params,
    Refusal,
    Setting,
    Strength,
    Surface,
)


class FineTuneParams(Params):
    """The adversary's training.

    Attributes:
        learning_rate: Adam's.
        ema: decay of the moving average of the weights, from the copy's on, that the adversary
            keeps and uses; 0 = he uses the last weights.
    """

    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0


class FineTune(ModelAttack[FineTuneParams]):
    """The host's public objective on clean images, a few steps along one trajectory."""

    name = "fine-tune"
    version = "2"
    Params = FineTuneParams
    family = "fine-tuning"
    access = frozenset({Access.COPY, Access.CLEAN_IMAGES, Access.PUBLIC_HOST})
    strength = Strength("steps", "steps", (1, 3, 10, 30), 1, 1_000_000, whole=True)
    card = Card(
        "Fine-tuning",
        "model purification, as in WOUAF and Stable Signature",
        "Apache-2.0",
        "Goes on training the copy with the host's public objective on clean images: all steps "
        "that lead from latents to the images that come out, a post-hoc embedder included.",
    )

    def refuse(self, setting: Setting) -> Refusal | None:
        """Where copies do not take the host's latents."""
        return own_latents(setting)

    def steps(self, setting: Setting) -> int:
        """The strength."""
        return int(setting.strength or 0)

    def apply(
        self, surface: Surface, strengths: Sequence[float], ctx: Context
    ) -> Iterator[tuple[float, Generator]]:
        """Strengths are step counts on one trajectory."""
        host = surface.public_host
        marks = sorted(int(s) for s in strengths)
        trajectory = host.component.finetune(
            host.state,
            surface.copy,
            surface.clean_images,
            self.params.learning_rate,
            list(range(1, marks[-1] + 1)) if self.params.ema else marks,
            ctx,
        )
        if self.params.ema:
            trajectory = averaged(surface.copy, trajectory, self.params.ema, marks)
        for mark, tuned in trajectory:
            yield float(mark), tuned


def own_latents(setting: Setting) -> Refusal | None:
    """Why training on the host's latents has no meaning, where copies take others."""
    if setting.method.host_latents:
        return None
    return Refusal("a copy takes latents of its own, and the adversary trains on the public host's")


def averaged(
    start: Generator,
    trajectory: Iterator[tuple[int, Generator]],
    decay: float,
    marks: Sequence[int],
) -> Iterator[tuple[int, Generator]]:
    """The moving average of a trajectory's parameters at the marks; buffers are the last ones.

    Args:
        start: where the average starts.
        trajectory: (step, generator after it), every step.
        decay: share of the old average in the new one.
        marks: when to yield.
    """
    from fpbench.nn.weights import exchanged, parameters

    average = parameters(start)
    for step, tuned in trajectory:
        now = parameters(tuned)
        average = {place: old.lerp(now[place], 1 - decay) for place, old in average.items()}
        if step in marks:
            yield step, exchanged(tuned, average)


class PurifyParams(Params):
    """The adversary's training.

    Attributes:
        steps: of training, the same for every number of images.
        learning_rate: Adam's.
    """

    steps: Annotated[int, Field(ge=1)] = 30
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4


class Purify(ModelAttack[PurifyParams]):
    """Fine-tuning with few clean images: how many does an adversary need?"""

    name = "purify"
    version = "2"
    Params = PurifyParams
    family = "fine-tuning"
    access = frozenset({Access.COPY, Access.CLEAN_IMAGES, Access.PUBLIC_HOST})
    strength = Strength("owned", "clean images", (16, 64, 128), 1, 1_000_000, whole=True)
    card = Card(
        "Purification with few images",
        "after the adaptive adversary of PTW: Lukas, Kerschbaum, USENIX Security 2023",
        "Apache-2.0",
        "Goes on training the copy, a post-hoc embedder included, for a fixed number of steps with "
        "so many clean images.",
        "The host's public objective instead of tuning around inverted images; smaller numbers of "
        "images.",
    )

    def refuse(self, setting: Setting) -> Refusal | None:
        """Where it has fewer clean images than the strength says, or latents are not the host's."""
        if refusal := own_latents(setting):
            return refusal
        wanted = int(setting.strength or 0)
        if setting.clean_images >= wanted:
            return None
        return Refusal(
            f"it takes {wanted} clean images, and the adversary is given {setting.clean_images}; "
            f"set clean_images = {wanted}"
        )

    def steps(self, setting: Setting) -> int:
        """The parameter `steps`."""
        del setting
        return self.params.steps

    def apply(
        self, surface: Surface, strengths: Sequence[float], ctx: Context
    ) -> Iterator[tuple[float, Generator]]:
        """One training for each number of images, always the first ones."""
        host = surface.public_host
        for count in sorted(strengths):
            images = surface.clean_images[: int(count)]
            rate, marks = self.params.learning_rate, [self.params.steps]
            trained = host.component.finetune(host.state, surface.copy, images, rate, marks, ctx)
            for _, purified in trained:
                yield count, purified

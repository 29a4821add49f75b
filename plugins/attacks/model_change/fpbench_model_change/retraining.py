"""Training anew: with an own code over the user's, or a fresh generator that imitates the copy."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fpbench.api import (
    Access,
    Card,
    Context,
    Generator,
    Method,
    ModelAttack,
    NoParams,
    Params,
    Refusal,
    Setting,
    Strength,
    Surface,
    TrainedHost,
    User,
)
from fpbench_model_change.finetuning import own_latents

if TYPE_CHECKING:
    from torch import Tensor

_BATCH = 32


class Overwrite(ModelAttack[NoParams]):
    """The same method once more, with the copy in the host's place and a code of the adversary."""

    name = "overwrite"
    version = "1"
    Params = NoParams
    family = "overwriting"
    access = frozenset({Access.COPY, Access.CLEAN_IMAGES, Access.PUBLIC_HOST, Access.TRAINER})
    strength = Strength("effort", "share of the method's training", (0.25, 1), 0.01, 1)
    card = Card(
        "Overwriting",
        "own",
        "Apache-2.0",
        "Trains the same method again on the copy, with clean images and a random code, and uses "
        "the copy that this issues. The effort is a share of the method's own training steps.",
    )

    def refuse(self, setting: Setting) -> Refusal | None:
        """Where the method's training cannot be cut to a share."""
        if "steps" in type(setting.method.params).model_fields:
            return None
        return Refusal("the method's training has no number of steps to take a share of")

    def steps(self, setting: Setting) -> int:
        """The effort's share of the method's own steps, at least one."""
        return _share(setting.method, setting.strength or 0)

    def apply(
        self, surface: Surface, strengths: Sequence[float], ctx: Context
    ) -> Iterator[tuple[float, Generator]]:
        """One training for each effort, all with the same code."""
        import torch

        from fpbench.nn.images import HeldSamples
        from fpbench.nn.weights import fused

        public, method = surface.public_host, surface.trainer
        # Steps that mark the copy so far become part of the host that is marked now.
        host = TrainedHost(public.component, public.state, fused(surface.copy))
        code = torch.zeros(0, dtype=torch.bool)
        if method.bits:
            code = ctx.training_codes(1, ctx.rng("overwrite/code"))[0]
        info = None if ctx.modality.name == "image" else ctx.info
        clean = HeldSamples(surface.clean_images, info)
        for effort in sorted(strengths):
            steps = {"steps": _share(method, effort)}
            shorter = type(method)(method.params.model_copy(update=steps))
            state = shorter.fit(host, clean, ctx)
            issued = shorter.issue(state, host, User(0, code), clean, ctx)
            yield effort, shorter.assemble(state, host, issued, ctx)


def _share(method: Method[Any], effort: float) -> int:
    steps: int = method.params.steps
    return max(1, round(effort * steps))


class DistilParams(Params):
    """The adversary's training.

    Attributes:
        learning_rate: Adam's, constant.
    """

    learning_rate: Annotated[float, Field(gt=0)] = 3e-3


class Distil(ModelAttack[DistilParams]):
    """A fresh generator of the host's kind learns to draw what the copy draws."""

    name = "distil"
    version = "1"
    Params = DistilParams
    family = "distillation"
    access = frozenset({Access.COPY, Access.PUBLIC_HOST})
    changes_weights = False  # the student's alone; the copy is only run
    strength = Strength("steps", "steps", (100, 300, 1000), 1, 10_000_000, whole=True)
    card = Card(
        "Distillation",
        "after Hinton, Vinyals, Dean, 2015; student, loss and grid are fpbench's own",
        "Apache-2.0",
        "Trains an untrained generator of the host's kind to draw the copy's images from the same "
        "latents. What a fingerprint leaves in images can be learned with them; short trainings "
        "draw blurred images. What sounds are compared by are their spectra, too.",
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
        import torch

        from fpbench.nn.schedule import adam, descend
        from fpbench.nn.weights import fused

        host, teacher = surface.public_host, surface.copy
        student = fused(host.component.untrained(host.state, ctx))
        name = student.output
        network = copy.deepcopy(student.steps[name]).eval().requires_grad_(True)
        optimiser = adam([(network.parameters(), self.params.learning_rate)], betas=(0.9, 0.99))
        marks = [int(s) for s in strengths]
        for step in range(1, max(marks) + 1):
            seeds = torch.randint(2**62, (_BATCH,), generator=ctx.rng("distil/latents", step))
            latents = teacher.prior(seeds.tolist())
            wanted = ctx.modality.to_float(teacher.sample(latents))
            descend(_unlike(network(latents), wanted), optimiser)
            ctx.progress(step, max(marks), self.name)
            if step in marks:
                learned = copy.deepcopy(network).eval().requires_grad_(False)
                yield float(step), student.replace(name, learned)


def _unlike(drawn: Tensor, wanted: Tensor) -> Tensor:
    """How unlike images (N, C, H, W) or sounds (N, C, T) are, a scalar."""
    from fpbench.nn.losses import l1g
    from fpbench.nn.spectra import spectral_loss

    loss = l1g(drawn, wanted)
    if drawn.dim() == 4:
        return loss
    return loss + spectral_loss(drawn.flatten(0, 1), wanted.flatten(0, 1))

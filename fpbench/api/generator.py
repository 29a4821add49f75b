"""A host or one user's copy as it runs: steps in a row, from latents to images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fpbench.api.types import Conditions

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

Latents = Any
"""A tensor, or a tuple or dict of tensors with one row a sample; only passed on by the harness."""
POST = "post"
"""Name of the step that a post-hoc method adds behind the images."""
PRIOR = "prior"
"""Name of the step that draws latents in the place of the host's prior."""


class Generator(ABC):
    """A host or one user's copy, ready to draw images. A runtime object, never registered."""

    @property
    @abstractmethod
    def steps(self) -> Mapping[str, Module]:
        """What a leaked copy reveals, in the order it runs; equal parts are shared objects.

        A marked sampler is the step "prior": it draws the latents, is not run again on them, and
        makes way for the host's own prior where it is dropped. A mark behind the images is "post".
        """

    @property
    def output(self) -> str:
        """The step that fine-tuning starts from: the last one that is not called "post"."""
        return [name for name in self.steps if name not in (PRIOR, POST)][-1]

    @property
    def opaque(self) -> frozenset[str]:
        """Steps whose weights nobody can change here: modules with `opaque = True`."""
        return frozenset(n for n, step in self.steps.items() if getattr(step, "opaque", False))

    def run(self, x: Any, *, first: str | None = None, until: str | None = None) -> Any:
        """`x` through the steps from `first` on, up to before `until`.

        Differentiable: a step that rounds to 8 bits gives floats on the 256 levels and passes
        gradients straight through; an opaque step may end them.

        Args:
            x: what goes into the first step: latents, or features or images behind a step.
            first: name of the first step that is run; None = of all behind the prior.
            until: name of the step before which it ends; None = behind the last.

        Raises:
            KeyError: there is no step of such a name.
        """
        steps = self.steps
        names = [name for name in steps if name != PRIOR]
        for name in (first, until):
            if name is not None and name not in names:
                raise KeyError(f"no step called {name!r}; this generator has {names}")
        start = 0 if first is None else names.index(first)
        for name in names[start : None if until is None else names.index(until)]:
            x = steps[name](x)
        return x

    @abstractmethod
    def prior(self, seeds: Sequence[int], conditions: Conditions = ()) -> Latents:
        """N latents, one per sample seed; row i depends on seed i and condition i alone.

        Args:
            seeds: N of them.
            conditions: N captions or classes; empty where the data have none, or who calls knows
                none: a host that takes some then draws them by the seeds.

        Returns:
            A tensor, or a tuple or dict of tensors, with one row a sample.
        """

    @abstractmethod
    def sample(self, latents: Latents) -> Tensor:
        """(N, 3, H, W) uint8 images; image i does not depend on the batch it is in."""

    @abstractmethod
    def replace(self, name: str, step: Module | None, *, after: str | None = None) -> Generator:
        """A generator with one step exchanged, dropped (None) or put in behind `after`.

        Raises:
            KeyError: there is no step of that name (or none called `after`).
        """

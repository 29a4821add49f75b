"""The kinds of attacks, and the surface that an attack's declared access opens to it.

Image attacks change images; model attacks change one copy; coalition attacks merge several;
pipeline attacks change how a copy is run; forgery attacks make images that an innocent user is
blamed for.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from fpbench.api.components import Attack, Surface
from fpbench.api.generator import Generator
from fpbench.api.params import Params
from fpbench.api.types import Access, Strength

if TYPE_CHECKING:
    from torch import Tensor

    from fpbench.api.context import Context

P = TypeVar("P", bound=Params)
T = TypeVar("T")


class SampleAttack(Attack[P]):
    """Changes samples; of images, unless it says other modalities."""

    access: frozenset[Access] = frozenset({Access.IMAGES})
    modalities: ClassVar[frozenset[str] | None] = frozenset({"image"})

    @abstractmethod
    def apply(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Attacked samples of the same shape and type; the input is not changed.

        Args:
            images: (N, 3, H, W) uint8, or (N, ...) samples of another modality.
            indices: image numbers; the draws of image i come from `ctx.image_rng(i)` alone.
            strength: in the attack's natural unit.
            ctx: seeds and device.
        """


class ModelAttack(Attack[P]):
    """Changes a copy."""

    changes_weights: ClassVar[bool] = True

    @abstractmethod
    def apply(
        self, surface: Surface, strengths: Sequence[Any], ctx: Context
    ) -> Iterator[tuple[float | None, Generator]]:
        """Yield (strength, attacked copy), weakest first; one trajectory may serve all.

        Args:
            surface: what the attack declares.
            strengths: numbers in the attack's natural unit; `(None,)` where it has no knob.
            ctx: seeds and device.
        """


class CoalitionAttack(Attack[P]):
    """Several users put their copies together; the strength is how many."""

    strength: ClassVar[Strength | None] = Strength(
        "users", "copies put together", (2, 3, 5, 10), low=2, high=1000, whole=True
    )
    access: frozenset[Access] = frozenset({Access.COPIES})
    changes_weights: ClassVar[bool] = True

    @abstractmethod
    def apply(self, surface: Surface, ctx: Context) -> Generator:
        """The generator that the coalition runs."""


class PipelineAttack(Attack[P]):
    """Changes how a copy is run: drops or exchanges steps."""

    @abstractmethod
    def apply(self, surface: Surface, ctx: Context) -> Generator:
        """The generator as the adversary runs it."""


class ForgeryAttack(Attack[P]):
    """Makes images that an innocent user, the target, shall be blamed for."""

    modalities: ClassVar[frozenset[str] | None] = frozenset({"image"})

    @abstractmethod
    def apply(
        self, surface: Surface, images: Tensor, strength: float | None, ctx: Context
    ) -> Tensor:
        """Forged images (N, 3, H, W) uint8 from clean ones of the same shape.

        Args:
            surface: what the attack declares.
            images: (N, 3, H, W) uint8 without any fingerprint.
            strength: in the attack's natural unit; None without a knob.
            ctx: seeds and device.
        """


def tier_of(attack: Attack[Any], steps: int) -> str:
    """What an adversary must hold and do: the tier of the score in which an attack stands.

    Args:
        attack: the attack.
        steps: that he trains, see `Attack.steps`.

    Returns:
        "samples" for one who changes images and holds nothing of any copy; of those who hold a
        copy, or the embedder of one, "training" for one who trains or owns clean images or the
        method's trainer, else "copy"; "" for coalitions and forgeries, which are not scored.
    """
    if isinstance(attack, SampleAttack) and Access.EMBEDDER not in attack.access:
        return "samples"
    if isinstance(attack, CoalitionAttack | ForgeryAttack):
        return ""
    trains = steps > 0 or attack.access & {Access.CLEAN_IMAGES, Access.TRAINER}
    return "training" if trains else "copy"

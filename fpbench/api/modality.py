"""What kind of thing samples are: how they are checked, computed with, compared and shown."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from fpbench.api.component import Component
from fpbench.api.params import Params
from fpbench.api.types import SampleInfo

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn import Module

P = TypeVar("P", bound=Params)


class Modality(Component[P]):
    """The kind of the samples of a data set, which names it in `SampleInfo.modality`.

    Samples cross every boundary as a file could carry them: images uint8 (N, 3, H, W), sounds int16
    (N, C, T). Inside a method they are floats in [-1, 1]. Of its parameters the defaults are
    used.

    Class attributes beside the component's:
        sample_budget: what `[score] sample_budget` is where a suite names none.
        titles: name of a likeness -> how pages call it, and its unit; "distance" is the damage,
            "frechet-proxy" the Fréchet distance of its features. Others are called by their name.
    """

    sample_budget: ClassVar[float] = 0.25
    titles: ClassVar[Mapping[str, tuple[str, str]]] = MappingProxyType({})

    @abstractmethod
    def check(self, who: str, samples: object, count: int, info: SampleInfo) -> Tensor:
        """`samples`, if they are `count` of those that `info` tells of.

        `fpbench.api.samples.check_samples` does it for tensors of one shape.

        Raises:
            ContractError: they are anything else; `who` has made them.
        """

    @abstractmethod
    def to_float(self, samples: Tensor) -> Tensor:
        """(N, ...) float32 in [-1, 1] of samples as a file carries them."""

    @abstractmethod
    def to_file(self, samples: Tensor) -> Tensor:
        """(N, ...) as a file carries them of floats: clamped, rounded, without gradient.

        `to_file(to_float(x))` equals `x`.
        """

    def quantise(self, samples: Tensor) -> Tensor:
        """Floats as a reader of files sees them, with the gradient of the identity.

        Args:
            samples: (N, ...) float, nominally in [-1, 1].

        Returns:
            `to_float(to_file(samples))`; no gradient where the input was outside.
        """
        clamped = samples.clamp(-1, 1)
        # The difference is 0 and carries the gradient.
        return self.to_float(self.to_file(samples)) + (clamped - clamped.detach())

    @property
    @abstractmethod
    def likeness(self) -> Mapping[str, Callable[[Tensor, Tensor], Tensor]]:
        """Name -> (N,) measure of pairs of samples, more is more alike; what exceeds 99 is told so.

        The first says how little another user's code changes. Asked for without torch, too.
        """

    @abstractmethod
    def damage(self, before: Tensor, after: Tensor) -> Tensor:
        """(N,) what `[score] sample_budget` is in: 0 for equal samples, more is worse."""

    @abstractmethod
    def features(self, device: torch.device, info: SampleInfo) -> Module:
        """(N, ...) samples -> (N, F) float32, in which distances of distributions are taken."""

    @abstractmethod
    def show(self, samples: NDArray[Any]) -> tuple[str, bytes]:
        """Media type and content of a file in which samples are seen side by side, in squares.

        Pages show "image/png"; files of other types are left out. Pages are made without torch:
        samples (N, ...) come as arrays here and in `play`.
        """

    def play(self, samples: NDArray[Any], info: SampleInfo) -> bytes:
        """A WAV file in which samples are heard one after the other; empty = they are not heard.

        Pages play it beside what `show` gives.
        """
        del samples, info
        return b""

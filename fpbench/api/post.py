"""The step that a post-hoc method adds to a host; needs torch."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fpbench.api.images import quantise, to_float
from fpbench.api.modality import Modality

__all__ = ["PostStep"]


class PostStep(nn.Module):
    """A post-hoc embedder with one user's code: what a file carries in and out, both as floats.

    Args:
        embedder: (samples float in [-1, 1], codes bool (N, K)) -> samples float.
        code: (K,) bool.
        modality: of the samples; None = images.
    """

    def __init__(
        self, embedder: nn.Module, code: Tensor, modality: Modality[Any] | None = None
    ) -> None:
        super().__init__()
        self.embedder = embedder.eval()
        self.register_buffer("code", code.bool())
        self._to_float = to_float if modality is None else modality.to_float
        self._quantise = quantise if modality is None else modality.quantise

    @property
    def opaque(self) -> bool:
        """Whether nobody can change the embedder's weights here; see `fpbench.api.Generator`."""
        return bool(getattr(self.embedder, "opaque", False))

    def forward(self, samples: Tensor) -> Tensor:
        """(N, ...) float, or as a file carries them -> (N, ...) float in [-1, 1] on its levels.

        Gradients pass both roundings straight through.
        """
        floats = samples.is_floating_point()
        samples = self._quantise(samples) if floats else self._to_float(samples)
        codes = self.get_buffer("code").expand(len(samples), -1)
        return self._quantise(self.embedder(samples, codes))

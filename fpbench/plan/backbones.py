"""Which of a suite's published networks this machine has the weights of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpbench.api import MissingResource
from fpbench.backbones import weights
from fpbench.spec import Backbone


@dataclass(frozen=True)
class PlannedBackbone:
    """A network of the suite, and its weights or why there are none.

    Attributes:
        spec: what the suite says.
        path: of the weights; None where they are missing.
        digest: SHA-256 of that file, empty without.
        reason: why the network cannot be used, with what to do; empty if it can.
    """

    spec: Backbone
    path: Path | None = None
    digest: str = ""
    reason: str = ""

    @property
    def name(self) -> str:
        """See `Backbone.name`."""
        return self.spec.name

    @property
    def features(self) -> bool:
        """Whether it gives features of images."""
        return self.spec.use == "inception"

    @property
    def captions(self) -> bool:
        """Whether it gives scores of images and the captions that they were drawn by."""
        return self.spec.use in weights.FOLDERS

    @property
    def pairs(self) -> bool:
        """Whether it gives distances of pairs of images."""
        return not self.features and not self.captions

    @property
    def published(self) -> bool:
        """Whether the weights are those that the published numbers stand on."""
        return self.spec.sha256 is None

    @property
    def known(self) -> dict[str, str]:
        """What was found out about it, as plain data; see `plan_backbones`."""
        return {"path": str(self.path or ""), "digest": self.digest, "reason": self.reason}

    @property
    def key_part(self) -> dict[str, Any]:
        """What identifies it in a stage key."""
        return {**self.spec.model_dump(mode="json"), "weights": self.digest}


def plan_backbones(
    specs: Iterable[Backbone],
    folder: Path | None,
    known: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[PlannedBackbone, ...]:
    """Look for the weights of every network that a suite names.

    Args:
        specs: what the suite says.
        folder: of weights brought by hand; None = only the libraries' own folder.
        known: name -> what was found out before (`PlannedBackbone.known`), which is not looked up
            again.

    Raises:
        StageError: a file is there and is not what its name or the suite promises.
    """
    found = known or {}
    return tuple(
        _known(spec, found[spec.name]) if spec.name in found else _looked_up(spec, folder)
        for spec in specs
    )


def _known(spec: Backbone, found: Mapping[str, str]) -> PlannedBackbone:
    path = Path(found["path"]) if found["path"] else None
    return PlannedBackbone(spec, path, found["digest"], found["reason"])


def _looked_up(spec: Backbone, folder: Path | None) -> PlannedBackbone:
    try:
        path = weights.find(spec.use, folder, spec.sha256)
    except MissingResource as error:
        return PlannedBackbone(spec, reason=str(error))
    return PlannedBackbone(spec, path, weights.sha256_of(path))

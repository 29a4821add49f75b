"""The small world in which plugins are tried: a data set, a trained host, contexts."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from fpbench.api import (
    Dataset,
    Generator,
    Host,
    Latents,
    Modality,
    SampleInfo,
    State,
    TrainedHost,
)
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.registry import load
from fpbench.stages import boundary
from fpbench.stages.checks import check_state
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store
from fpbench.testing.fakes import SmoothImages, TinyHost

IMAGES = 16
"""Drawn from each copy."""


class World:
    """A data set, a host that is trained on it, and contexts as stages have them.

    Args:
        folder: an empty one; None = one that goes with the world.
        host: to build on; a tiny linear one if None.
        dataset: what it is trained on; drawn images if None. Its modality must be registered.
        train: training images, of drawn ones.
        size: of drawn ones, pixels.
        steps: at which each training is cut; None = at its end.
        device: where all of it happens.
        weights: folder of files that are brought by hand.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        host: Host[Any] | None = None,
        dataset: Dataset[Any] | None = None,
        train: int = 256,
        size: int = 32,
        steps: int | None = None,
        device: str = "cpu",
        weights: Path | None = None,
    ) -> None:
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="fpbench-check-"))
            weakref.finalize(self, rmtree, folder, ignore_errors=True)
        self.device = torch.device(device)
        self.dataset = dataset or drawn_images(size, train)
        self.host = host or TinyHost(TinyHost.Params())
        self.steps = steps
        self.weights = weights
        self._store = Store(folder / "conformance")
        self.images = SplitStream(self.dataset, "train", self.device)
        self.test = SplitStream(self.dataset, "test", self.device)

    @property
    def info(self) -> SampleInfo:
        """Of the samples."""
        return self.images.info

    @cached_property
    def modality(self) -> Modality[Any]:
        """Of the samples."""
        kind = load().component("modalities", self.info.modality)
        return cast(Modality[Any], kind(kind.Params()))

    def context(
        self, *root: Any, seed: int = 0, bits: int = 0, fitted: State | None = None
    ) -> StageContext:
        """What a stage hands to a plugin."""
        return StageContext(
            self.device,
            (seed, *root),
            self._store,
            bits=bits,
            modality=self.modality,
            info=self.info,
            fitted=fitted,
            trial_steps=self.steps,
            weights=self.weights,
        )

    def latents(self, generator: Generator, seeds: Sequence[int]) -> Latents:
        """Of a generator, under conditions of the data set."""
        conditions = self.test.conditions([seed % len(self.test) for seed in seeds])
        return generator.prior(seeds, conditions)

    def some(self, count: int = IMAGES, first: int = 0) -> Tensor:
        """Real samples that nothing was trained on."""
        return self.test.read(np.arange(first, first + count) % len(self.test))

    @cached_property
    def trained(self) -> TrainedHost:
        """The host."""
        who, ctx = f"host {self.host.name}", self.context("host")
        state = check_state(f"{who}: fit", self.host.fit(self.images, ctx))
        return TrainedHost(self.host, state, self.host.assemble(state, ctx))

    @cached_property
    def loan(self) -> boundary.Loan:
        """Its state, as it is lent."""
        return boundary.Loan("the host's state", self.trained.state)

    def lent(self) -> TrainedHost:
        """The host, for a plugin to do with as it likes."""
        return boundary.lent_host(self.trained, self.loan)

    @cached_property
    def unmarked(self) -> Tensor:
        """Samples of the host."""
        generator = self.trained.generator
        return boundary.drawn(generator, self.latents(generator, range(IMAGES)))

    def elsewhere(self, device: str) -> World:
        """The same world on another device."""
        return World(
            host=self.host,
            dataset=self.dataset,
            steps=self.steps,
            device=device,
            weights=self.weights,
        )


def drawn_images(size: int, train: int = 256) -> Dataset[Any]:
    """Cartoon faces where these are drawn in a size, else smooth images."""
    if size in (32, 64):
        return ToyFaces(ToyFaces.Params.model_validate({"size": size, "train": train}))
    return SmoothImages(SmoothImages.Params(size=size, train=train))

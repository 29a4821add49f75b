"""What a stage hands to a plugin: device, seeds, codes, checkpoints, progress."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import torch

    from fpbench.api.modality import Modality
    from fpbench.api.types import SampleInfo, State

T = TypeVar("T")


class Peers:
    """The processes that train together; as it stands, this one alone.

    Attributes:
        rank: number of this process.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its mean over all processes."""
        del tensors


class Context(ABC):
    """The sole source of device, randomness, training codes and checkpoints within one stage."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where tensors of this stage live."""

    @property
    @abstractmethod
    def modality(self) -> Modality[Any]:
        """What kind of thing samples are: `ctx.modality.to_float(samples)`."""

    @property
    @abstractmethod
    def info(self) -> SampleInfo:
        """What is known of the samples that hosts and copies draw: shape, type, rate."""

    @property
    @abstractmethod
    def precision(self) -> str:
        """Of products in trainings: "fp32", or "bf16" (weights and sums stay float32)."""

    @property
    @abstractmethod
    def accumulation(self) -> int:
        """Into how many parts a device cuts its share of a batch, to fit into its memory."""

    @property
    @abstractmethod
    def fitted(self) -> State:
        """Of an attack what its own `fit` has learnt; empty elsewhere."""

    @property
    @abstractmethod
    def peers(self) -> Peers:
        """The processes that train together with this one."""

    @abstractmethod
    def rng(self, purpose: str, *indices: int) -> torch.Generator:
        """A fresh CPU generator that depends on the stage's seed, `purpose` and `indices` alone."""

    @abstractmethod
    def image_rng(self, index: int) -> np.random.Generator:
        """The draws of one attacked image; the same at every strength of the attack."""

    @abstractmethod
    def image_uniforms(self, indices: Sequence[int], count: int) -> np.ndarray:
        """(N, count) float64 in [0, 1): `image_rng(i).random(count)` of every image, but faster."""

    @abstractmethod
    def branch(self, purpose: str, *indices: int) -> Context:
        """The same stage with randomness of its own, for one part of a composite."""

    @abstractmethod
    def seeded(self, purpose: str, *indices: int) -> AbstractContextManager[None]:
        """Fork torch's global generators, seeded by `purpose` and `indices`.

        For module initialisation, and for what modules draw by themselves.
        """

    @abstractmethod
    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, made once a process: sessions, programs.

        All stages and copies share it, so `name` says whose it is and all that it is made of: the
        component, its parameters, the digest of its files.
        """

    @abstractmethod
    def asset(self, name: str, *, sha256: str) -> Path:
        """A file that is brought by hand, in the folder of `--weights` or `FPBENCH_WEIGHTS`.

        A component that opens one says so in its `assets`, so that a plan can tell what is missing.

        Args:
            name: of the file, perhaps with folders before it.
            sha256: of its content, hexadecimal.

        Raises:
            MissingResource: it is not there; says how to bring it.
            StageError: a file of that name is there and is another one.
        """

    @abstractmethod
    def training_codes(self, count: int, rng: torch.Generator) -> torch.Tensor:
        """(count, K) bool codes on the device, never one of those reserved for issued copies."""

    @abstractmethod
    def load_checkpoint(self, name: str) -> tuple[State, Mapping[str, object]] | None:
        """The last checkpoint saved under `name` by this stage, or None."""

    @abstractmethod
    def save_checkpoint(self, name: str, tensors: State, meta: Mapping[str, object]) -> None:
        """Save a checkpoint; it replaces the former one of that name in one step."""

    @abstractmethod
    def checkpoint_due(self) -> bool:
        """True when enough time has passed since the last checkpoint."""

    @abstractmethod
    def curve(self, name: str, step: int, values: Mapping[str, float]) -> None:
        """Keep one point of a training curve."""

    @abstractmethod
    def sheet(self, name: str, step: int, images: torch.Tensor) -> None:
        """Keep (N, 3, H, W) uint8 samples of one step of a training, for the method's page."""

    @abstractmethod
    def snapshot(self, step: int, steps: int, state: Callable[[], State]) -> None:
        """Offer what `fit` would return if a training ended here; some are kept if a suite asks.

        Args:
            step: steps that are done, from 1.
            steps: of the whole training.
            state: gives the state; called only where it is kept.
        """

    @property
    def trial_steps(self) -> int | None:
        """Steps of each training that are run where only their cost is asked for; None = all."""
        return None

    def tried(self, name: str, steps: int, seconds: float, spent: float) -> None:
        """Keep what a step of a training takes, of which `trial_steps` were run.

        Args:
            name: of the training.
            steps: of the whole training.
            seconds: of one step, the first one left out.
            spent: seconds of all that were run, the first one included.
        """
        del name, steps, seconds, spent

    @abstractmethod
    def throughput(self, name: str, images: int, seconds: float) -> None:
        """Keep how many images a training saw in how many seconds."""

    @abstractmethod
    def progress(self, done: int, total: int, text: str) -> None:
        """Say how far the stage is; may raise KeyboardInterrupt to stop it after a checkpoint."""

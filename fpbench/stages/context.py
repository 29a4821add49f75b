"""The context of one stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.random.bit_generator import ISeedSequence
from torch import Tensor

from fpbench.api import (
    Context,
    ContractError,
    Modality,
    NoParams,
    SampleInfo,
    State,
    derive_seed,
)
from fpbench.api.context import Peers
from fpbench.builtin.image.modality import Image
from fpbench.plan import is_reserved
from fpbench.plan.assets import find_asset
from fpbench.stages.checks import check_state
from fpbench.stages.interrupt import Interrupt, Stopped
from fpbench.store import Store

CHECKPOINT_SECONDS = 15.0
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15

Words = TypeVar("Words", int, np.ndarray)
T = TypeVar("T")
_MADE: dict[str, Any] = {}  # of this process: what plugins have opened


class StageContext(Context):
    """See `fpbench.api.Context`.

    Args:
        device: where tensors live.
        seed_root: what all randomness of the stage derives from.
        store: for checkpoints.
        key: the stage's key; empty for stages too short for checkpoints.
        bits: code length, 0 where no codes are drawn.
        on_progress: told (done, total, text).
        interrupt: shared flag.
        precision: of trainings, "fp32" or "bf16".
        accumulation: parts that a batch is cut into.
        peers: processes that train together.
        snapshots: how many states of a training are kept, the last among them.
        snapshots_key: where the others go.
        fitted: what an attack has learnt before.
        modality: of the samples; None = images.
        info: what is known of them; None = nothing, and who asks is refused.
        trial_steps: at which trainings are cut; None = at their ends.
        weights: folder of files that are brought by hand; None = there is none.
    """

    def __init__(
        self,
        device: torch.device,
        seed_root: tuple[Any, ...],
        store: Store,
        *,
        key: str = "",
        bits: int = 0,
        on_progress: Callable[[int, int, str], None] | None = None,
        interrupt: Interrupt | None = None,
        precision: str = "fp32",
        accumulation: int = 1,
        peers: Peers | None = None,
        snapshots: int = 0,
        snapshots_key: str = "",
        fitted: State | None = None,
        modality: Modality[Any] | None = None,
        info: SampleInfo | None = None,
        trial_steps: int | None = None,
        weights: Path | None = None,
    ) -> None:
        self._device = device
        self._root = seed_root
        self._store = store
        self._key = key
        self._bits = bits
        self._on_progress = on_progress
        self._interrupt = interrupt or Interrupt()
        self._started = self._saved = time.monotonic()
        self._earlier_s = self._save_s = 0.0
        self._precision = precision
        self._accumulation = accumulation
        self._peers = peers or Peers()
        self._snapshots = snapshots
        self._snapshots_key = snapshots_key
        self._fitted = fitted or {}
        self._modality = modality or Image(NoParams())
        self._info = info
        self._trial_steps = trial_steps
        self._weights = weights
        self.trials: dict[str, tuple[int, float]] = {}
        self.tried_s = 0.0
        self.curves: dict[str, list[dict[str, float]]] = {}
        self.sheets: dict[str, np.ndarray] = {}
        self.rates: dict[str, dict[str, float]] = {}

    @property
    def device(self) -> torch.device:
        """Where tensors of this stage live."""
        return self._device

    @property
    def modality(self) -> Modality[Any]:
        """See `Context.modality`."""
        return self._modality

    @property
    def info(self) -> SampleInfo:
        """See `Context.info`."""
        if self._info is None:
            raise ContractError(
                "context: expected to be told of the samples, got nothing; make it with `info`"
            )
        return self._info

    @property
    def precision(self) -> str:
        """See `Context.precision`."""
        return self._precision

    @property
    def accumulation(self) -> int:
        """See `Context.accumulation`."""
        return self._accumulation

    @property
    def fitted(self) -> State:
        """See `Context.fitted`."""
        return self._fitted

    def once(self, name: str, make: Callable[[], T]) -> T:
        """See `Context.once`."""
        if name not in _MADE:
            _MADE[name] = make()
        found: T = _MADE[name]
        return found

    @property
    def peers(self) -> Peers:
        """See `Context.peers`."""
        return self._peers

    @property
    def elapsed_s(self) -> float:
        """Seconds spent on the stage, those before a resume included."""
        return self._earlier_s + time.monotonic() - self._started

    def rng(self, purpose: str, *indices: int) -> torch.Generator:
        """See `Context.rng`."""
        return torch.Generator().manual_seed(derive_seed(*self._root, purpose, *indices))

    def image_rng(self, index: int) -> np.random.Generator:
        """See `Context.image_rng`."""
        seed = _ImageSeed(self._image_root, int(index))
        # numpy's stub knows its own seed sequence only.
        return np.random.Generator(np.random.SFC64(seed))  # type: ignore[arg-type]

    def image_uniforms(self, indices: Sequence[int], count: int) -> np.ndarray:
        """See `Context.image_uniforms`."""
        # The state of numpy's SFC64 and its steps, for all images at once.
        words = _image_words(self._image_root, np.asarray(indices, dtype=np.uint64), 3)
        a, b, c = words.T
        drawn = np.empty((len(words), count), dtype=np.uint64)
        for step in range(-12, count):
            out = a + b + np.uint64(step + 13)
            a = b ^ (b >> np.uint64(11))
            b = c + (c << np.uint64(3))
            c = ((c << np.uint64(24)) | (c >> np.uint64(40))) + out
            if step >= 0:
                drawn[:, step] = out
        return (drawn >> np.uint64(11)) * 2.0**-53

    @cached_property
    def _image_root(self) -> int:
        return derive_seed(*self._root, "image")

    def branch(self, purpose: str, *indices: int) -> StageContext:
        """See `Context.branch`; a branch has no checkpoints of its own."""
        return StageContext(
            self._device,
            (*self._root, purpose, *indices),
            self._store,
            bits=self._bits,
            on_progress=self._on_progress,
            interrupt=self._interrupt,
            precision=self._precision,
            accumulation=self._accumulation,
            peers=self._peers,
            fitted=self._fitted,
            modality=self._modality,
            info=self._info,
            trial_steps=self._trial_steps,
            weights=self._weights,
        )

    @contextmanager
    def seeded(self, purpose: str, *indices: int) -> Iterator[None]:
        """See `Context.seeded`."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            seed = derive_seed(*self._root, "global", purpose, *indices)
            torch.manual_seed(seed)  # noqa: TID251 - the one place
            yield

    def asset(self, name: str, *, sha256: str) -> Path:
        """See `Context.asset`."""
        return find_asset(name, sha256, self._weights)

    def training_codes(self, count: int, rng: torch.Generator) -> Tensor:
        """See `Context.training_codes`."""
        if not self._bits:
            raise ContractError(
                "training codes: expected to be drawn while a method is fitted, got a request "
                "from another stage; test codes are drawn by the harness alone"
            )
        codes = torch.randint(0, 2, (count, self._bits), generator=rng, dtype=torch.uint8)
        while True:
            bad = torch.from_numpy(is_reserved(codes.numpy().astype(bool)))
            if not bool(bad.any()):
                return codes.bool().to(self._device)
            codes[bad] = torch.randint(
                0, 2, (int(bad.sum()), self._bits), generator=rng, dtype=torch.uint8
            )

    def load_checkpoint(self, name: str) -> tuple[State, Mapping[str, object]] | None:
        """See `Context.load_checkpoint`."""
        shard = self._store.load_checkpoint(self._key, name) if self._key else None
        if shard is None:
            return None
        self._earlier_s = max(self._earlier_s, float(shard.meta["elapsed_s"]))
        tensors = {k: torch.from_numpy(v).to(self._device) for k, v in shard.arrays.items()}
        return tensors, shard.meta["plugin"]

    def save_checkpoint(self, name: str, tensors: State, meta: Mapping[str, object]) -> None:
        """See `Context.save_checkpoint`."""
        started = time.monotonic()
        if self._key:
            arrays = to_arrays(tensors)
            whole = {"plugin": dict(meta), "elapsed_s": self.elapsed_s}
            self._store.save_checkpoint(self._key, name, arrays, whole)
        self._save_s = time.monotonic() - started
        self._saved = time.monotonic()

    def checkpoint_due(self) -> bool:
        """See `Context.checkpoint_due`."""
        # Large networks take seconds to write: saving may take a twentieth of the time.
        pause = max(CHECKPOINT_SECONDS, 20 * self._save_s)
        return self._interrupt.requested or time.monotonic() - self._saved > pause

    def curve(self, name: str, step: int, values: Mapping[str, float]) -> None:
        """See `Context.curve`."""
        self.curves.setdefault(name, []).append({"step": float(step), **values})

    def sheet(self, name: str, step: int, images: Tensor) -> None:
        """See `Context.sheet`."""
        self.sheets[f"{name}/{step}"] = images.cpu().numpy()

    def snapshot(self, step: int, steps: int, state: Callable[[], State]) -> None:
        """See `Context.snapshot`; the last state is what `fit` returns, and not kept twice."""
        due = {round(steps * i / self._snapshots) for i in range(1, self._snapshots)}
        if step in due - {steps} and not self._peers.rank:
            name, arrays = str(step), to_arrays(check_state(f"snapshot of step {step}", state()))
            # A step that is repeated after a kill finds the same state there.
            self._store.append(self._snapshots_key, name, arrays, [name], {"steps": steps})

    @property
    def trial_steps(self) -> int | None:
        """See `Context.trial_steps`."""
        return self._trial_steps

    def tried(self, name: str, steps: int, seconds: float, spent: float) -> None:
        """See `Context.tried`."""
        self.trials[name] = (steps, seconds)
        self.tried_s += spent

    def throughput(self, name: str, images: int, seconds: float) -> None:
        """See `Context.throughput`."""
        self.rates[name] = {"images": float(images), "seconds": seconds}

    def progress(self, done: int, total: int, text: str) -> None:
        """See `Context.progress`."""
        if self._on_progress is not None:
            self._on_progress(done, total, text)
        if self._interrupt.requested:
            raise Stopped


class _ImageSeed(ISeedSequence):
    """Seeds a bit generator from a root and an image's number with splitmix64.

    numpy's own seed sequence and a SHA-256 for each image would take longer than most attacks do
    on a small image.
    """

    def __init__(self, root: int, index: int) -> None:
        self._start = _splitmix64((_splitmix64(index) + root) & _MASK)

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        """`n_words` words of the stream that belongs to the image, as `_image_words` gives them."""
        words = [_splitmix64((self._start + k * _GOLDEN) & _MASK) for k in range(n_words)]
        return np.array(words, dtype=np.uint64).astype(dtype, copy=False)


def _image_words(root: int, indices: np.ndarray, count: int) -> np.ndarray:
    """(N, count) uint64: the splitmix64 stream that starts at a hash of root and index."""
    start = _splitmix64(_splitmix64(indices) + np.uint64(root))
    return _splitmix64(start[:, None] + _GOLDEN * np.arange(count, dtype=np.uint64))


def _splitmix64(x: Words) -> Words:
    # Steele, Lea and Flood 2014, for one number or an array of them, which wraps by itself.
    x = (x + _GOLDEN) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Tensors as numpy arrays that the store takes."""
    return {k: t.detach().cpu().contiguous().numpy() for k, t in tensors.items()}

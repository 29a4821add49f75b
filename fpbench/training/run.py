"""One training: exact resume, precision, several devices, health gates, curves.

The plugin writes the steps, nothing else. Every draw is a pure function of the stage's seed, the
run's name and the step, and schedules are functions of the step: there is no hidden state to lose
in a kill.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fpbench.api import Context, State, TrainingFailed
from fpbench.nn.draws import Draws

_LOG_EVERY = 25  # steps between two points of a curve
_SHEETS = 6  # sheets of samples over a training, with those of its ends
_PATIENCE = 4  # points of the curve in a row that must miss an expectation


class Averaged(Protocol):
    """An exponential moving average of a module."""

    @property
    def module(self) -> nn.Module:
        """The averaged copy."""
        ...


class TrainingRun:
    """Iterate over the steps that are still to do; everything named is checkpointed.

    ```python
    with TrainingRun(ctx, "host", steps=1000, modules={"g": g}, optimisers={"g": adam}) as run:
        for step in run:
            latents = torch.randn(64, 512, generator=run.rng("latents")).to(ctx.device)
            for piece in run.pieces(64):
                with run.autocast():
                    loss = loss_of(g(latents[piece]))
                run.backward(loss, piece, 64)
            run.update(adam)
            run.log(loss=loss.detach())
    ```

    Args:
        ctx: the stage's context.
        name: unique within the stage.
        steps: total number of steps.
        modules: trained modules, by name.
        optimisers: their optimisers, by name.
        averages: moving averages, by name.
        batch: images per step, for the throughput; 0 = not known.
        checkpoint_steps: save every so many steps too; 0 = only as time goes.

    Attributes:
        memory: plain floats that the plugin carries from step to step (e.g. a running accuracy);
            checkpointed too.

    Raises:
        TrainingFailed: a logged value is not finite.
    """

    def __init__(
        self,
        ctx: Context,
        name: str,
        *,
        steps: int,
        modules: Mapping[str, nn.Module],
        optimisers: Mapping[str, Optimizer],
        averages: Mapping[str, Averaged] | None = None,
        batch: int = 0,
        checkpoint_steps: int = 0,
    ) -> None:
        self._ctx = ctx
        self._name = name
        self._steps = steps
        self._modules = dict(modules)
        self._modules |= {f"average.{key}": a.module for key, a in (averages or {}).items()}
        self._optimisers = dict(optimisers)
        self._batch = batch
        self._checkpoint_steps = checkpoint_steps
        self._curve: list[tuple[int, dict[str, float]]] = []
        self._sheets: dict[int, Tensor] = {}
        self._missed: dict[str, int] = {}
        self._logged: dict[str, list[float]] = {}
        self._seconds = 0.0
        self._saved = 0
        self._next = 0
        self.memory: dict[str, float] = {}

    def __enter__(self) -> Self:
        found = self._ctx.load_checkpoint(self._name)
        if found is not None:
            self._restore(*found)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            return
        for step, values in self._curve:
            self._ctx.curve(self._name, step, values)
        for step, images in sorted(self._sheets.items()):
            self._ctx.sheet(self._name, step, images)
        if self._batch:
            self._ctx.throughput(self._name, self._batch * self._steps, self._seconds)

    def __iter__(self) -> Iterator[int]:
        trial = self._ctx.trial_steps
        last = self._steps if trial is None else min(trial, self._steps)
        begun = 0.0
        while self._next < last:
            started = time.monotonic()
            begun = begun or (started if self._next else 0.0)
            # What modules draw by themselves, such as dropout, is a function of the step too.
            rank = self._ctx.peers.rank
            own = (self._next, rank) if rank else (self._next,)
            with self._ctx.seeded(f"{self._name}/step", *own):
                yield self._next
            self._seconds += time.monotonic() - started
            self._next += 1
            done = self._next == self._steps
            counted = self._checkpoint_steps and self._next % self._checkpoint_steps == 0
            if done or counted or self._ctx.checkpoint_due():
                self._save()
            self._ctx.progress(self._next, self._steps, self._text())
        if trial is not None:
            each = (time.monotonic() - begun) / (last - 1) if begun else self._seconds
            self._ctx.tried(self._name, self._steps, each, self._seconds)

    def rng(self, purpose: str) -> torch.Generator:
        """A CPU generator for one purpose of the present step."""
        return self._ctx.rng(f"{self._name}/{purpose}", self._next)

    def draws(
        self, purpose: str, places: slice | Tensor, count: int, *, on_device: bool = False
    ) -> Draws:
        """Random numbers for a piece of a batch; however the batch is cut, an image gets the same.

        Args:
            purpose: of these numbers within the step.
            places: of the images in the whole batch: a piece, or indices.
            count: images of the whole batch.
            on_device: draw where the training runs, what would take long on the CPU; another kind
                of device then draws other numbers.
        """
        rng = self.rng(purpose)
        if on_device:
            rng = torch.Generator(self._ctx.device).manual_seed(rng.initial_seed())
        return Draws(rng, count, places)

    # -- steps -------------------------------------------------------------------------------

    def pieces(self, count: int) -> list[slice]:
        """This process's pieces of a batch: what it computes now, one after the other.

        A batch is cut into what one device can hold, and dealt out to the devices that train
        together. However it is cut, `backward` and `update` make the gradient that of the whole
        batch, if what is drawn for images is drawn for the whole batch (`rng`) or by their places
        in it (`draws`). Two things see a piece: terms over several images at once, and what
        modules draw by themselves.

        Args:
            count: images of the batch, over all devices.

        Raises:
            TrainingFailed: there are more devices than images.
        """
        peers = self._ctx.peers
        if count < peers.count:
            raise TrainingFailed(
                f"{self._name}: expected at least one image of a batch for each of {peers.count} "
                f"devices, got a batch of {count}; use fewer --devices or a larger batch"
            )
        pieces = min(count, self._ctx.accumulation * peers.count)
        edges = [count * i // pieces for i in range(pieces + 1)]
        return [slice(a, b) for a, b in itertools.pairwise(edges)][peers.rank :: peers.count]

    def backward(self, loss: Tensor, piece: slice, count: int) -> None:
        """Add the gradient of one piece of a batch.

        Args:
            loss: mean over the piece's images, a scalar.
            piece: which it is.
            count: images of the batch.
        """
        (loss * ((piece.stop - piece.start) / count * self._ctx.peers.count)).backward()

    def update(self, optimiser: Optimizer, *, clip: float = 0.0) -> None:
        """Move the parameters by what was added since the last time.

        Args:
            optimiser: of the parameters.
            clip: largest norm of the gradient of the whole batch; 0 = any.
        """
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        self._ctx.peers.average([p.grad for p in parameters if p.grad is not None])
        if clip:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimiser.step()
        optimiser.zero_grad()

    def mean(self, values: Sequence[Tensor], count: int) -> float:
        """Mean over a batch, on all devices: what a schedule may depend on.

        Args:
            values: the mean of each of this process's pieces, scalars.
            count: images of the batch.
        """
        shares = [(piece.stop - piece.start) / count for piece in self.pieces(count)]
        parts = [value.detach().float() * s for value, s in zip(values, shares, strict=True)]
        whole = torch.stack(parts).sum() * self._ctx.peers.count
        self._ctx.peers.average([whole])
        return float(whole)

    def autocast(self, *, exact: bool = False) -> torch.autocast:
        """While open, products are computed in the training's precision."""
        mixed = self._ctx.precision == "bf16" and not exact
        return torch.autocast(self._ctx.device.type, torch.bfloat16, enabled=mixed)

    # -- what is kept ------------------------------------------------------------------------

    def sheet(self, draw: Callable[[], Tensor]) -> None:
        """Keep samples of the present step if it is one of those that are shown.

        Args:
            draw: gives (N, 3, H, W) uint8 images of latents that never change.
        """
        last = self._steps - 1
        if self._next in {round(last * i / (_SHEETS - 1)) for i in range(_SHEETS)}:
            self._sheets[self._next] = draw().cpu()

    def snapshot(self, state: Callable[[], State]) -> None:
        """Offer what `fit` would return if this step were the last, once averages are updated.

        A suite that asks for snapshots keeps some, and has one of them chosen by its images: in the
        phase that ends a training alone, since earlier ones know no such state.

        Args:
            state: gives the whole state; called only where it is kept.
        """
        self._ctx.snapshot(self._next + 1, self._steps, state)

    def expect(self, name: str, value: Tensor | float, least: float, *, after: float) -> None:
        """Stop a training that will come to nothing.

        Args:
            name: of what is watched.
            value: its value in this step.
            least: what it must reach.
            after: share of the steps after which it is expected.

        Raises:
            TrainingFailed: it stayed below for several points of the curve.
        """
        if self._next % _LOG_EVERY or self._next < after * self._steps:
            return
        number = float(value)
        self._missed[name] = 0 if number >= least else self._missed.get(name, 0) + 1
        if self._missed[name] >= _PATIENCE:
            raise TrainingFailed(
                f"{self._name}: expected {name} of at least {least:g} from step "
                f"{round(after * self._steps):,} on, got {number:.3g} at step {self._next:,} of "
                f"{self._steps:,} (last checkpoint at step {self._saved:,}); train longer, ask for "
                "less (fewer bits, smaller images), or look at the curve on the method's page"
            )

    def log(self, **values: Tensor | float) -> None:
        """Keep a point of the curve every 25 steps and at the ends; check that all is finite.

        Several calls within a step make one point, of their means.
        """
        if self._next % _LOG_EVERY and self._next + 1 < self._steps:
            return
        numbers = {key: float(value) for key, value in values.items()}
        for key, number in numbers.items():
            if not math.isfinite(number):
                raise TrainingFailed(
                    f"{self._name}: expected finite values, got {key} = {number} at step "
                    f"{self._next} of {self._steps} (last good checkpoint at step {self._saved}); "
                    "lower the learning rate or look at the curve on the method's page"
                )
        if not (self._curve and self._curve[-1][0] == self._next):
            self._curve.append((self._next, {}))
            self._logged = {}
        for key, number in numbers.items():
            found = self._logged.setdefault(key, [])
            found.append(number)
            self._curve[-1][1][key] = sum(found) / len(found)

    def _text(self) -> str:
        last = self._curve[-1][1] if self._curve else {}
        parts = [self._name, *(f"{key} {value:.3g}" for key, value in last.items())]
        if self._batch and self._seconds:
            parts.append(f"{self._batch * self._next / self._seconds:.0f} images/s")
        return " ".join(parts)

    def _save(self) -> None:
        if self._ctx.peers.rank:
            return
        tensors: dict[str, Tensor] = {}
        for name, module in self._modules.items():
            for key, tensor in module.state_dict().items():
                tensors[f"module/{name}/{key}"] = tensor
        self._check_finite(tensors)
        for step, images in self._sheets.items():
            tensors[f"sheet/{step}"] = images
        for name, optimiser in self._optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                for key, value in state.items():
                    tensors[f"optimiser/{name}/{index}/{key}"] = torch.as_tensor(value)
        meta: dict[str, object] = {
            "next": self._next,
            "memory": self.memory,
            "curve": [[step, values] for step, values in self._curve],
            "missed": self._missed,
            "seconds": self._seconds,
        }
        self._ctx.save_checkpoint(self._name, tensors, meta)
        self._saved = self._next

    def _restore(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        for name, module in self._modules.items():
            prefix = f"module/{name}/"
            module.load_state_dict(
                {
                    key.removeprefix(prefix): t
                    for key, t in tensors.items()
                    if key.startswith(prefix)
                }
            )
        for name, optimiser in self._optimisers.items():
            _restore_optimiser(optimiser, f"optimiser/{name}/", tensors)
        self._next = self._saved = int(meta["next"])
        self.memory = dict(meta["memory"])
        self._curve = [(step, dict(values)) for step, values in meta["curve"]]
        self._missed = dict(meta["missed"])
        self._seconds = float(meta["seconds"])
        self._sheets = {
            int(key.removeprefix("sheet/")): images.cpu()
            for key, images in tensors.items()
            if key.startswith("sheet/")
        }

    def _check_finite(self, tensors: Mapping[str, Tensor]) -> None:
        """A checkpoint with broken weights would be the last good one for ever."""
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise TrainingFailed(
                    f"{self._name}: expected finite weights, got others in {name} before step "
                    f"{self._next} of {self._steps} (last good checkpoint at step {self._saved}); "
                    "lower the learning rate or look at the curve on the method's page"
                )


def _restore_optimiser(optimiser: Optimizer, prefix: str, tensors: Mapping[str, Tensor]) -> None:
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for index, parameter in enumerate(parameters):
        state: dict[str, Tensor] = {}
        for key, tensor in tensors.items():
            if key.startswith(f"{prefix}{index}/"):
                name = key.rsplit("/", 1)[1]
                if tensor.shape == parameter.shape and tensor.ndim:
                    # The same memory layout as before the kill, so that the same kernels run.
                    state[name] = torch.empty_like(parameter).copy_(tensor)
                else:
                    state[name] = tensor.clone()
        if state:
            optimiser.state[parameter] = state

"""One training: exact resume, health gates, curves. The plugin writes the steps, nothing else.

Every draw comes from `TrainingRun.rng`, a pure function of the stage's seed, the run's name and
the step, and schedules are functions of the step: there is no hidden state to lose in a kill.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fpbench.api import Context, TrainingFailed

_LOG_EVERY = 25  # steps between two points of a curve


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
            loss = ...
            run.log(loss=loss)
    ```

    Args:
        ctx: the stage's context.
        name: unique within the stage.
        steps: total number of steps.
        modules: trained modules, by name.
        optimisers: their optimisers, by name.
        averages: moving averages, by name.
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
        checkpoint_steps: int = 0,
    ) -> None:
        self._ctx = ctx
        self._name = name
        self._steps = steps
        self._modules = dict(modules)
        self._modules |= {f"average.{key}": a.module for key, a in (averages or {}).items()}
        self._optimisers = dict(optimisers)
        self._checkpoint_steps = checkpoint_steps
        self._curve: list[tuple[int, dict[str, float]]] = []
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
        if kind is None:
            for step, values in self._curve:
                self._ctx.curve(self._name, step, values)

    def __iter__(self) -> Iterator[int]:
        while self._next < self._steps:
            yield self._next
            self._next += 1
            done = self._next == self._steps
            counted = self._checkpoint_steps and self._next % self._checkpoint_steps == 0
            if done or counted or self._ctx.checkpoint_due():
                self._save()
            last = self._curve[-1][1] if self._curve else {}
            text = " ".join(f"{key} {value:.3g}" for key, value in last.items())
            self._ctx.progress(self._next, self._steps, f"{self._name} {text}".strip())

    def rng(self, purpose: str) -> torch.Generator:
        """A CPU generator for one purpose of the present step."""
        return self._ctx.rng(f"{self._name}/{purpose}", self._next)

    def log(self, **values: Tensor | float) -> None:
        """Keep a point of the curve every 25 steps and at the ends; check that all is finite."""
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
        self._curve.append((self._next, numbers))

    def _save(self) -> None:
        tensors: dict[str, Tensor] = {}
        for name, module in self._modules.items():
            for key, tensor in module.state_dict().items():
                tensors[f"module/{name}/{key}"] = tensor
        for name, optimiser in self._optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                for key, value in state.items():
                    tensors[f"optimiser/{name}/{index}/{key}"] = torch.as_tensor(value)
        meta: dict[str, object] = {
            "next": self._next,
            "memory": self.memory,
            "curve": [[step, values] for step, values in self._curve],
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

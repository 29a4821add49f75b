"""The tensors of a generator as one mapping, for attacks that change copies.

A place is the name of a step and the name of a tensor within it. No function here changes the
generator it is given, or any of its modules.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fpbench.api import Generator

__all__ = ["Place", "buffers", "exchanged", "fused", "parameters", "weights"]

Place = tuple[str, str]
"""(step, tensor within the step)."""


def parameters(generator: Generator) -> dict[Place, Tensor]:
    """Every floating-point parameter, in order of registration; not to be written to."""
    return {
        (step, name): parameter.detach()
        for step, module in generator.steps.items()
        for name, parameter in module.named_parameters()
        if parameter.is_floating_point()
    }


def weights(generator: Generator) -> dict[Place, Tensor]:
    """The parameters of two or more dimensions ``(O, I, ...)``: filters O, input channels I."""
    return {place: value for place, value in parameters(generator).items() if value.dim() > 1}


def buffers(generator: Generator) -> dict[Place, Tensor]:
    """Every buffer, of any type, in order of registration; not to be written to."""
    return {
        (step, name): buffer.detach()
        for step, module in generator.steps.items()
        for name, buffer in module.named_buffers()
    }


@torch.no_grad()
def exchanged(generator: Generator, values: Mapping[Place, Tensor]) -> Generator:
    """The generator with other values at some places; steps without such a place are shared.

    Args:
        generator: Any.
        values: Of the same shapes as before; brought to their type and device.
    """
    result = generator
    for step, module in generator.steps.items():
        own = {name: value for (where, name), value in values.items() if where == step}
        if not own:
            continue
        changed = copy.deepcopy(module)
        tensors: dict[str, Tensor] = {
            **dict(changed.named_parameters()),
            **dict(changed.named_buffers()),
        }
        for name, value in own.items():
            # In place, so that the memory format stays: kernels of another one round differently.
            tensors[name].copy_(value)
        result = result.replace(step, changed)
    return result


def fused(generator: Generator) -> Generator:
    """The same generator with all its steps as one, under the name of the first."""
    first, *others = generator.steps
    if not others:
        return generator
    result = generator.replace(first, nn.Sequential(*generator.steps.values()))
    for name in others:
        result = result.replace(name, None)
    return result

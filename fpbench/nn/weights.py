"""The tensors of a generator as one mapping, for attacks that change copies.

A place is the name of a step and the name of a tensor within it. No function here changes the
generator it is given, or any of its modules; opaque steps have no places and are handed on.

What an adversary can reach are parameters and floating-point buffers: a module may keep its running
statistics, or whatever it marks with, in either. Buffers that are not part of a module's state
(`register_buffer(..., persistent=False)`) are fixed filters and no weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from fpbench.api import Generator, Latents
from fpbench.api.generator import PRIOR

__all__ = [
    "Place",
    "buffers",
    "exchanged",
    "fused",
    "layers",
    "opened",
    "parameters",
    "reachable",
    "unit",
    "weights",
]

Place = tuple[str, str]
"""(step, tensor within the step)."""


def parameters(generator: Generator) -> dict[Place, Tensor]:
    """Every floating-point parameter, in order of registration; not to be written to."""
    return {
        (step, name): parameter.detach()
        for step, module in opened(generator)
        for name, parameter in module.named_parameters()
        if parameter.is_floating_point()
    }


def buffers(generator: Generator) -> dict[Place, Tensor]:
    """Every buffer, of any type, in order of registration; not to be written to."""
    return {
        (step, name): buffer.detach()
        for step, module in opened(generator)
        for name, buffer in module.named_buffers()
    }


def reachable(generator: Generator) -> dict[Place, Tensor]:
    """All that an attack on weights reaches: floating-point parameters, then such buffers."""
    kept = {(step, name) for step, module in opened(generator) for name in module.state_dict()}
    return parameters(generator) | {
        place: buffer
        for place, buffer in buffers(generator).items()
        if buffer.is_floating_point() and place in kept
    }


def weights(generator: Generator) -> dict[Place, Tensor]:
    """What is reachable and has two or more dimensions ``(O, I, ...)``: filters O, inputs I."""
    return {place: value for place, value in reachable(generator).items() if value.dim() > 1}


def unit(tensor: Tensor) -> Tensor:
    """The root mean square of a tensor's entries, a positive scalar: what sizes are measured in.

    The same function can be stored at any scale (an equalised learning rate, a factor of the
    module's own): in this unit all ways to store a tensor have the same entries.
    """
    return tensor.square().mean().sqrt().clamp_min(1e-30)


@torch.no_grad()
def layers(generator: Generator, latents: Latents) -> list[list[Place]]:
    """The reachable places of each module that has any of its own, from the first to the last.

    In the order in which the modules are called when an image is drawn. Modules that are not called
    (their tensors are used by others, or never) come first.

    Args:
        generator: Any.
        latents: one, to trace with.
    """
    steps = generator.steps
    own: dict[Place, list[Place]] = {}  # by (step, module within the step)
    for step, name in reachable(generator):
        own.setdefault((step, name.rpartition(".")[0]), []).append((step, name))
    called: dict[Place, None] = {}

    def note(layer: Place, *_: object) -> None:
        called.pop(layer, None)  # a module that is called twice is as deep as its last call
        called[layer] = None

    handles = [
        steps[step].get_submodule(name).register_forward_pre_hook(partial(note, (step, name)))
        for step, name in own
    ]
    try:
        generator.run(latents)
    finally:
        for handle in handles:
            handle.remove()
    return [own[layer] for layer in [*(layer for layer in own if layer not in called), *called]]


@torch.no_grad()
def exchanged(generator: Generator, values: Mapping[Place, Tensor]) -> Generator:
    """The generator with other values at some places; steps without such a place are shared.

    A running variance stays positive: where its new value is not, a hundredth of the old one stands
    in.

    Args:
        generator: Any.
        values: Of the same shapes as before; brought to their type and device.
    """
    result = generator
    for step in generator.steps:
        own = {name: value for (where, name), value in values.items() if where == step}
        if not own:
            continue
        changed = copy.deepcopy(generator.steps[step])
        tensors: dict[str, Tensor] = {
            **dict(changed.named_parameters()),
            **dict(changed.named_buffers()),
        }
        for name, value in own.items():
            if name.endswith("running_var"):
                value = value.where(value > 0, tensors[name] / 100)
            # In place, so that the memory format stays: kernels of another one round differently.
            tensors[name].copy_(value)
        result = result.replace(step, changed)
    return result


def fused(generator: Generator) -> Generator:
    """The same generator with all its steps as one, under the name of the first.

    One that marks latents as they are drawn stays by itself.
    """
    first, *others = (name for name in generator.steps if name != PRIOR)
    if not others:
        return generator
    steps = (generator.steps[name] for name in (first, *others))
    result = generator.replace(first, nn.Sequential(*steps))
    for name in others:
        result = result.replace(name, None)
    return result


def opened(generator: Generator) -> Iterator[tuple[str, nn.Module]]:
    """The steps whose weights can be seen and changed."""
    sealed = generator.opaque
    # A step that is asked for may be copied for it, and sealed ones are not to be.
    return ((name, generator.steps[name]) for name in generator.steps if name not in sealed)

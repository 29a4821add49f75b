"""The hidden channels of a generator: said by its modules, or read off plain chains of layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from fpbench.api import ContractError, Generator
from fpbench.api.post import PostStep
from fpbench.nn.channels import Axis, Channels, checked, inputs, outputs, within
from fpbench.nn.equalised import EqualConv, EqualLinear
from fpbench.nn.weights import opened, reachable

__all__ = ["channels_of", "hidden_channels"]

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, EqualLinear, EqualConv)
_NORMS = (nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d)
_POSITIVE = (nn.ReLU, nn.LeakyReLU, nn.MaxPool1d, nn.MaxPool2d)
_ODD = (nn.Tanh, nn.Softsign)
_EITHER = (
    nn.Identity,
    nn.Dropout,
    nn.Flatten,
    nn.Unflatten,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.Upsample,
)
_NEITHER = (
    nn.GELU,
    nn.SiLU,
    nn.ELU,
    nn.SELU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Mish,
    nn.ReLU6,
    nn.Hardtanh,
)
_BETWEEN = (*_NORMS, *_POSITIVE, *_ODD, *_EITHER, *_NEITHER)


def hidden_channels(who: str, generator: Generator) -> list[tuple[str, Channels]]:
    """(step, channels) of all steps that are not opaque, from the latents to the images.

    Args:
        who: asks, for messages.
        generator: any.

    Raises:
        ContractError: there are none, or it is not known of a step with weights where they are.
    """
    found: list[tuple[str, Channels]] = []
    values = reachable(generator)
    for step, module in opened(generator):
        groups = channels_of(f"{who}: step {step!r}", module)
        own = {name: value for (where, name), value in values.items() if where == step}
        checked(f"{who}: step {step!r}", groups, own)
        found += [(step, group) for group in groups]
    if not found:
        raise ContractError(
            f"{who}: expected hidden channels between the layers of a generator, got none in its "
            f"steps {list(generator.steps)}; there is nothing that could change places"
        )
    return found


def channels_of(who: str, module: nn.Module) -> tuple[Channels, ...]:
    """The hidden channels of a module, in the order in which they are computed.

    Modules say theirs in a method `channels()`; an `nn.Sequential` is taken apart.

    Raises:
        ContractError: a module has weights and does not say.
    """
    said = getattr(module, "channels", None)
    if callable(said):
        return tuple(said())
    if isinstance(module, PostStep):
        return within("embedder", channels_of(who, module.embedder))
    if isinstance(module, nn.Sequential):
        return tuple(_chained(who, list(_flat("", module))))
    if isinstance(module, _LAYERS) or not any(p.dim() > 1 for p in module.parameters()):
        return ()
    raise ContractError(
        f"{who}: expected to know its hidden channels, got a {type(module).__name__}, which is no "
        "plain chain of layers; give it a method channels() (fpbench.nn.channels)"
    )


def _flat(name: str, module: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """The parts of nested chains by their names, in order."""
    if not isinstance(module, nn.Sequential):
        yield name, module
        return
    # named_children() leaves out an activation that stands at several places.
    for key, part in zip(module._modules, module, strict=True):
        yield from _flat(f"{name}.{key}" if name else key, part)


def _chained(who: str, parts: Sequence[tuple[str, nn.Module]]) -> Iterable[Channels]:
    """The channels between each two layers of a chain, and those inside its other parts."""
    last: tuple[str, nn.Module] | None = None  # the layer whose channels are open
    between: list[tuple[str, nn.Module]] = []
    for name, part in parts:
        if isinstance(part, _LAYERS) and getattr(part, "groups", 1) == 1:
            if last is not None and (group := _group(last, between, (name, part))):
                yield group
            last, between = (name, part), []
        elif isinstance(part, _BETWEEN):
            between.append((name, part))
        else:
            last = None
            yield from within(name, channels_of(who, part))


def _group(
    before: tuple[str, nn.Module],
    between: Sequence[tuple[str, nn.Module]],
    after: tuple[str, nn.Module],
) -> Channels | None:
    """The channels between two layers; None where their entries do not fit together."""
    made, read = _size(before[1], 0), _size(after[1], 1)
    count = min(made, read)
    if made % count or read % count:
        return None
    norms = [(name, part) for name, part in between if isinstance(part, _NORMS)]
    if len(norms) > 1 or (norms and made != count):
        return None  # normalised by other channels than those that move
    scaled, blocks, axes = between, 1, list[Axis]()
    power: int | None = 1
    for name, norm in norms:
        # A factor is lost in a norm, and enters behind it where the norm has factors of its own.
        scaled = between[between.index((name, norm)) + 1 :]
        blocks, axes = getattr(norm, "num_groups", 1), _norm(name, norm)
        power = 0 if dict(norm.named_parameters()) else None
    kinds = [type(part) for _, part in scaled]
    return Channels(
        count,
        (
            *outputs(before[0], before[1], power=power, width=made // count),
            *axes,
            inputs(after[0], width=read // count),
        ),
        positive=all(issubclass(kind, (*_POSITIVE, *_EITHER)) for kind in kinds),
        negative=all(issubclass(kind, (*_ODD, *_EITHER)) for kind in kinds),
        blocks=blocks,
    )


def _size(layer: nn.Module, dim: int) -> int:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.shape[dim]


def _norm(name: str, norm: nn.Module) -> list[Axis]:
    """What a normalisation holds of its channels."""
    held = {"weight": 1, "bias": 1, "running_mean": 0, "running_var": 0}
    return [
        Axis(f"{name}.{part}", 0, power)
        for part, power in held.items()
        if getattr(norm, part, None) is not None
    ]

"""What plugins are lent, so that none of them can change another one's numbers.

Images are cloned, and a step of a generator is copied when it is taken out of `steps`. The tensors
of a state are too many to be cloned for every call: they are compared by content behind it, and
what was changed is put back. Whoever changed it fails before anything of his is stored.
"""

from __future__ import annotations

import copy
import ctypes
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Generator as Stepping
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fpbench.api import (
    Conditions,
    ContractError,
    Generator,
    Host,
    Latents,
    State,
    TrainedHost,
)
from fpbench.stages.process import call, stepped

T = TypeVar("T")

_MEMCMP: Any = ctypes.CDLL(None).memcmp if os.name == "posix" else None
if _MEMCMP is not None:
    _MEMCMP.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Loan:
    """Tensors that plugins are lent, and what was in them.

    Args:
        what: they are, for messages.
        tensors: finite, so that equal ones compare equal.
    """

    def __init__(self, what: str, tensors: State) -> None:
        self.what = what
        self._tensors = tensors
        self._kept = cloned(tensors)

    def lent(self) -> State:
        """The same memory under other objects: nothing but the content can be changed."""
        return {name: tensor.detach() for name, tensor in self._tensors.items()}

    def restored(self) -> list[str]:
        """Names of the tensors that were changed; they are as before again."""
        changed = [n for n, t in self._tensors.items() if not _same(t, self._kept[n])]
        for name in changed:
            self._tensors[name].copy_(self._kept[name])  # in place: modules may share the memory
        return changed


def _same(tensor: Tensor, kept: Tensor) -> bool:
    """Whether two tensors of one shape hold the same bits."""
    plain = tensor.device.type == "cpu" and tensor.is_contiguous() and kept.is_contiguous()
    if plain and _MEMCMP is not None:
        # Six times as fast as torch's comparison, and this is done around every call of a plugin.
        return not _MEMCMP(tensor.data_ptr(), kept.data_ptr(), kept.nbytes)
    return torch.equal(tensor, kept)


@contextmanager
def unharmed(who: str, *loans: Loan) -> Iterator[None]:
    """Behind the block, whatever it raises, what is lent is as it was.

    Raises:
        ContractError: it was changed within the block, and nothing else went wrong there.
    """
    try:
        yield
    except BaseException:
        for loan in loans:
            loan.restored()
        raise
    changed = [f"'{name}' of {loan.what}" for loan in loans for name in loan.restored()]
    if changed:
        raise ContractError(
            f"{who}: expected what it is lent untouched, but it changed {changed[0]} in place; "
            "clone it first"
        )


def watched(start: Callable[[], Iterable[T]], who: str, *loans: Loan) -> Stepping[T, None, None]:
    """What a plugin yields; between its steps, the process and what it is lent are as before.

    Raises:
        ContractError: a step has changed what is lent.
    """
    with unharmed(who, *loans):
        steps = stepped(iter(call(start)))
    with closing(steps):
        while True:
            with unharmed(who, *loans):
                try:
                    item = next(steps)
                except StopIteration:
                    return
            yield item


def cloned(tensors: State) -> State:
    """The same tensors in memory of their own."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def attacked(who: str, change: Callable[[Tensor], object], images: Tensor) -> object:
    """What an attack makes of images, in memory of its own.

    Args:
        who: for the message.
        change: the attack.
        images: samples; never changed.

    Raises:
        ContractError: the attack writes into what it is given.
    """
    lent = images.clone()
    made = change(lent)
    if not torch.equal(lent, images):
        raise ContractError(
            f"{who}: expected its input untouched, but it changed its input; copy it first"
        )
    # It may be a buffer that the attack fills again and again.
    return made.clone() if isinstance(made, Tensor) else made


class Lent(Generator):
    """A generator whose steps are copied when they are taken out, each of them once.

    Args:
        whole: the generator; none of its steps is given away.
    """

    def __init__(self, whole: Generator) -> None:
        self._whole = whole
        self._lent = frozenset(whole.steps)
        self._copies: dict[int, object] = {}  # of all steps, so that what they share stays shared

    @property
    def steps(self) -> Mapping[str, nn.Module]:
        """See `Generator.steps`."""
        return _Steps(self)

    @property
    def output(self) -> str:
        """See `Generator.output`."""
        return self._whole.output

    @property
    def opaque(self) -> frozenset[str]:
        """See `Generator.opaque`; no step is taken out to be asked."""
        return self._whole.opaque

    def run(self, x: Any, *, first: str | None = None, until: str | None = None) -> Any:
        """See `Generator.run`; the steps that run need not be taken out."""
        return self._whole.run(x, first=first, until=until)

    def prior(self, seeds: Sequence[int], conditions: Conditions = ()) -> Latents:
        """See `Generator.prior`."""
        return self._whole.prior(seeds, conditions)

    def sample(self, latents: Latents) -> Tensor:
        """See `Generator.sample`."""
        return self._whole.sample(latents)

    def replace(self, name: str, step: nn.Module | None, *, after: str | None = None) -> Lent:
        """See `Generator.replace`; the other steps stay lent."""
        other = Lent(self._whole.replace(name, step, after=after))
        other._lent, other._copies = self._lent - {name}, self._copies
        return other

    def __deepcopy__(self, memo: dict[int, object]) -> Generator:
        return copy.deepcopy(self._whole, memo)

    def taken(self, name: str) -> nn.Module:
        """A step that may be changed; from now on it is the one that runs here.

        An opaque one, which nobody can change, is handed on as it is.
        """
        if name in self._lent - self._whole.opaque:
            own = copy.deepcopy(self._whole.steps[name], self._copies)
            self._whole = self._whole.replace(name, own)
            self._lent -= {name}
        return self._whole.steps[name]

    def returned(self) -> Generator:
        """What it is, for those who change nothing."""
        return self._whole


class _Steps(Mapping[str, nn.Module]):
    """Names at once; modules, which must be copied, when they are asked for."""

    def __init__(self, generator: Lent) -> None:
        self._generator = generator

    def __getitem__(self, name: str) -> nn.Module:
        return self._generator.taken(name)

    def __contains__(self, name: object) -> bool:
        return name in self._generator.returned().steps

    def __iter__(self) -> Iterator[str]:
        return iter(self._generator.returned().steps)

    def __len__(self) -> int:
        return len(self._generator.returned().steps)


def lent_host(host: TrainedHost, state: Loan) -> TrainedHost:
    """A host that a plugin may do with as it likes."""
    return TrainedHost(host.component, state.lent(), Lent(host.generator))


def no_host(component: Host[Any], who: str) -> TrainedHost:
    """A host for those who say that they take nothing of it."""
    return TrainedHost(component, {}, _NoGenerator(who))


class _NoGenerator(Generator):
    def __init__(self, who: str) -> None:
        self._who = who

    def _refused(self) -> ContractError:
        return ContractError(
            f"{self._who}: expected to take nothing of the host, as `uses_host = False` says, got "
            "a request for its generator; take that line away"
        )

    @property
    def steps(self) -> Mapping[str, nn.Module]:
        raise self._refused()

    def prior(self, seeds: Sequence[int], conditions: Conditions = ()) -> Latents:
        raise self._refused()

    def sample(self, latents: Latents) -> Tensor:
        raise self._refused()

    def replace(self, name: str, step: nn.Module | None, *, after: str | None = None) -> Generator:
        raise self._refused()


def returned(made: T) -> T | Generator:
    """What a plugin gives back, without the wrapping of what it was lent."""
    return made.returned() if isinstance(made, Lent) else made


def own_latents(latents: Latents) -> Latents:
    """Latents in memory of their own, with all that they are made of."""
    if isinstance(latents, Tensor):
        return latents.clone()
    if isinstance(latents, Mapping):
        return {name: own_latents(part) for name, part in latents.items()}
    return tuple(own_latents(part) for part in latents)


def same_latents(one: Latents, other: Latents) -> bool:
    """Whether two latents are equal in all that they are made of."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, Mapping):
        return (
            isinstance(other, Mapping)
            and one.keys() == other.keys()
            and all(same_latents(part, other[name]) for name, part in one.items())
        )
    return (
        isinstance(other, tuple | list)
        and len(one) == len(other)
        and all(map(same_latents, one, other))
    )


def drawn(generator: Generator, latents: Latents) -> Tensor:
    """`generator.sample(latents)` in memory of its own; the latents stay as they are.

    In one memory format, of images channels-last, so that they read the same out of the store.
    """
    samples: object = generator.sample(own_latents(latents))
    if isinstance(samples, Tensor):
        last = samples.dim() == 4
        return samples.clone(memory_format=torch.channels_last if last else torch.contiguous_format)
    # Whatever it is, it is checked behind this.
    return samples  # type: ignore[return-value]

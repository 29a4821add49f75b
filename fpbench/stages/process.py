"""What a plugin may change of the process it runs in, and what is put back behind its call.

Methods and attacks run one after the other in one process. A default dtype, a gradient mode or a
working directory that one of them leaves behind would be another one's input.
"""

from __future__ import annotations

import ctypes
import gc
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

import numpy as np

from fpbench.api import ContractError
from fpbench.stages.interrupt import Stopped

if TYPE_CHECKING:
    from fpbench.stages.torch_switches import Switch

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_WORDS = 624  # of the state of a Mersenne twister, with the place in it behind them
_DRAWS: Any = np.random  # numpy's annotations leave its global generator out
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def call(function: Callable[[*Ts], T], *args: *Ts) -> T:
    """What a plugin's function returns; the process is as before."""
    with Visit():
        return function(*args)


def stepped(items: Iterator[T]) -> Generator[T, None, None]:
    """What a plugin's generator yields; between its steps the process is ours.

    A generator that yields within `torch.no_grad()` finds that again when it goes on.
    """
    visit = Visit()
    try:
        while True:
            with visit:
                try:
                    item = next(items)
                except StopIteration:
                    return
            visit = visit.again()
            yield item
    finally:
        if isinstance(items, Generator):
            # Contexts that it has open end here, and not whenever it is collected.
            with visit, suppress(Exception):
                items.close()


@dataclass(frozen=True)
class _Snapshot:
    """The process at one moment: a value for each switch, and the modes of autograd."""

    switches: tuple[Switch, ...]
    values: tuple[Any, ...]
    grad: bool
    inference: bool

    @classmethod
    def take(cls) -> _Snapshot:
        """As it is now; torch is left alone where nobody has loaded it."""
        torch = sys.modules.get("torch")
        switches = _GENERAL
        if torch is not None:
            from fpbench.stages.torch_switches import SWITCHES

            switches += SWITCHES
        return cls(switches, tuple(read() for read, _ in switches), *_autograd())

    def now_in_autograd(self) -> _Snapshot:
        """The same switches with the present modes of autograd, which blocks of ours set too."""
        return _Snapshot(self.switches, self.values, *_autograd())

    def put(self, now: _Snapshot) -> None:
        """Bring back what differs from `now`."""
        # Without torch at the beginning there is nothing of torch to bring back.
        for (_, put), value, other in zip(self.switches, self.values, now.values, strict=False):
            if value != other:
                put(value)


_OURS: ContextVar[_Snapshot | None] = ContextVar("ours", default=None)
"""The process as a job has found it, while no plugin is in; None where it must be looked at."""


@contextmanager
def job() -> Iterator[None]:
    """A block in which only plugins change the process, so that one look at it is enough.

    Signal handlers, which move no number, are put back behind it alone.
    """
    handlers = tuple(signal.getsignal(number) for number in _SIGNALS)
    with Visit():
        token = _OURS.set(_Snapshot.take())
        try:
            yield
        finally:
            _OURS.reset(token)
            _set_handlers(handlers)


class Visit:
    """While open, a plugin is in; behind it everything is as it was.

    Args:
        theirs: the process as the plugin left it when it was in before; None = as it is.
    """

    def __init__(self, theirs: _Snapshot | None = None) -> None:
        self._theirs = theirs

    def __enter__(self) -> None:
        self._recursion = sys.getrecursionlimit()
        known = _OURS.get()
        self._token = _OURS.set(None)  # what the plugin calls of ours may visit another plugin
        self._ours = _Snapshot.take() if known is None else known.now_in_autograd()
        theirs = self._theirs or self._ours
        self._modes = _modes(theirs)
        theirs.put(self._ours)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Before anything else: what follows may be deeper than the plugin allows.
        sys.setrecursionlimit(self._recursion)
        self._theirs = _Snapshot.take()
        if self._modes is not None:
            self._modes.__exit__(kind, error, trace)
            sys.modules["torch"].set_grad_enabled(self._ours.grad)
        self._ours.put(self._theirs)
        _OURS.reset(self._token)
        if kind is not None and not issubclass(kind, (Exception, GeneratorExit, Stopped)):
            # `sys.exit` or a KeyboardInterrupt of a plugin's own would end more than its cells.
            raise ContractError(
                f"plugin: expected a result or an Exception, got {kind.__name__}"
                f"{f' ({error})' if str(error) else ''}; raise an Exception that says what is wrong"
            ) from error

    def again(self) -> Visit:
        """The next one of the same plugin, which finds the process as it has left it."""
        return Visit(self._theirs)


def _autograd() -> tuple[bool, bool]:
    torch = sys.modules.get("torch")
    return (
        torch is not None and torch.is_grad_enabled(),
        torch is not None and torch.is_inference_mode_enabled(),
    )


def _modes(theirs: _Snapshot) -> Any:
    """An open `torch.inference_mode`, whose end undoes every mode of autograd set within it."""
    if len(theirs.switches) == len(_GENERAL):
        return None
    torch = sys.modules["torch"]
    modes = torch.inference_mode(theirs.inference)
    modes.__enter__()
    torch.set_grad_enabled(theirs.grad)
    return modes


def _directory() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - a text; this runs around every call
    except FileNotFoundError:
        return None


def _set_directory(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _environment() -> dict[bytes, bytes]:
    environ: Any = os.environ
    return dict(environ._data)  # decoding it would be a third of the time of a visit


def _set_environment(wanted: dict[bytes, bytes]) -> None:
    for name in os.environb.keys() - wanted.keys():
        del os.environb[name]
    os.environb.update(wanted)


def _set_handlers(handlers: tuple[Any, ...]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # nor could the plugin change them there
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        if handler is not None:  # None: not set from Python
            signal.signal(number, handler)


def _set_filters(filters: tuple[Any, ...]) -> None:
    warnings.resetwarnings()  # so that the interpreter forgets what it has decided
    list_of: Any = warnings.filters
    list_of[:] = filters


def _set_streams(streams: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = streams


def _numpy_draws() -> tuple[Any, bytes]:
    """The global bit generator and its state."""
    source = _DRAWS.get_bit_generator()
    if not isinstance(source, np.random.MT19937):
        return source, b""  # a plugin's own
    # As it lies in memory; numpy's own way of reading it takes a hundred times as long.
    return source, ctypes.string_at(source.ctypes.state_address, 4 * _WORDS + 4)


def _set_numpy_draws(state: tuple[Any, bytes]) -> None:
    source, memory = state
    _DRAWS.set_bit_generator(source)
    if memory:
        *words, place = np.frombuffer(memory, np.uint32)
        _DRAWS.set_state(("MT19937", np.array(words), place))


_GENERAL: tuple[Switch, ...] = (
    (lambda: (sys.stdout, sys.stderr), _set_streams),
    (_directory, _set_directory),
    (_environment, _set_environment),
    (lambda: tuple(warnings.filters), _set_filters),
    (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    (random.getstate, random.setstate),
    (np.geterr, lambda kinds: np.seterr(**kinds)),
    (_numpy_draws, _set_numpy_draws),
)

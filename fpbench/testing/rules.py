"""Rules that a plugin keeps, and what becomes of each when a component is tried.

A trial does with a component what the harness does, step by step as rules ask for it; what a step
gave, or why it failed, is kept, so that each is done once. A step fails under one rule: the others
that stand on it are not reached, and say so.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from fpbench.api import Component, ContractError
from fpbench.stages import boundary
from fpbench.stages.process import call
from fpbench.testing.watching import disturb, drawn_state, flags
from fpbench.testing.world import World

T = TypeVar("T")


class Verdict(StrEnum):
    """What became of a rule."""

    KEPT = "kept"
    BROKEN = "broken"
    SKIPPED = "skipped"
    """It says nothing of such a component, or this machine cannot tell."""
    NOT_REACHED = "not reached"
    """Another rule is broken that it stands on."""


class Broken(ContractError):
    """A rule is broken.

    Attributes:
        rule: which.
    """

    def __init__(self, rule: str, message: str) -> None:
        self.rule = rule
        super().__init__(message)


class Skip(Exception):
    """A rule says nothing here; the text says why."""


@dataclass(frozen=True)
class Rule:
    """One thing that is asked of a component.

    Attributes:
        name: a word or two, joined by hyphens.
        asks: what is asked, a line.
        judge: tries it; returns a note, and raises `Broken`, `ContractError` or `Skip`.
    """

    name: str
    asks: str
    judge: Callable[[Any], str]


@dataclass(frozen=True)
class Result:
    """What became of a rule.

    Attributes:
        component: "method mine".
        rule: its name.
        asks: what it asks.
        verdict: what became of it.
        said: who, expected, got and how to mend it; or a note, or why nothing is said.
        trace: where a plugin's code failed; empty elsewhere.
        seconds: that it took.
    """

    component: str
    rule: str
    asks: str
    verdict: Verdict
    said: str
    trace: str = ""
    seconds: float = 0.0


class Trial:
    """A component as the harness would use it.

    Args:
        who: "method mine".
        component: with its parameters.
        world: what it is tried in.

    Attributes:
        disturbed: what of the process each call changed.
        ends: call -> start of the global generators -> where they stood behind it.
        seconds: that each call took.
    """

    def __init__(self, who: str, component: Component[Any], world: World) -> None:
        self.who = who
        self.world = world
        self.component: Any = component
        self.disturbed: dict[str, set[str]] = {}
        self.ends: dict[str, dict[int, tuple[bytes, ...]]] = {}
        self.seconds: dict[str, float] = {}
        self._made: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, or raises, the first time."""
        if name not in self._made:
            try:
                self._made[name] = (make(), None)
            except (ContractError, Skip) as error:
                self._made[name] = (None, error)
        made, failure = self._made[name]
        if failure is not None:
            raise failure
        found: T = made
        return found

    def called(
        self, what: str, function: Callable[[], T], *loans: boundary.Loan, chance: int = 1
    ) -> T:
        """What a call of the component gives.

        Args:
            what: is called.
            function: calls it.
            loans: what it is lent.
            chance: where the global generators stand.

        Raises:
            Broken: it fails ("runs"), or changes what it is lent ("lent").
        """
        who = f"{self.who}: {what}"

        def watched() -> T:
            disturb(chance)
            before = flags()
            try:
                return function()
            finally:
                after = flags()
                changed = {name for name, value in before.items() if after[name] != value}
                self.disturbed[what] = self.disturbed.get(what, set()) | changed
                self.ends.setdefault(what, {})[chance] = drawn_state()

        started = time.perf_counter()
        try:
            with boundary.unharmed(who, *loans):
                try:
                    return call(watched)
                except (ContractError, Skip) as error:
                    raise _at_fault("runs", who, error) from error
                except Exception as error:
                    said = " ".join(f"{type(error).__name__}: {error}".split())
                    text = f"{who}: expected it to end, got {said}; mend {_place(error)}"
                    raise Broken("runs", text) from error
        except Broken:
            raise
        except ContractError as error:
            raise Broken("lent", str(error)) from error
        finally:
            self.seconds[what] = time.perf_counter() - started


def judged(rule: Rule, trial: Any, who: str) -> Result:
    """What becomes of a rule in a trial."""
    started = time.perf_counter()
    trace = ""
    try:
        verdict, said = Verdict.KEPT, rule.judge(trial)
    except Skip as reason:
        verdict, said = Verdict.SKIPPED, str(reason)
    except ContractError as error:
        verdict, said = Verdict.BROKEN, str(error)
        if isinstance(error, Broken) and error.rule != rule.name:
            verdict, said = Verdict.NOT_REACHED, f"'{error.rule}' is broken"
        elif error.__cause__ is not None:
            trace = "".join(traceback.format_exception(error.__cause__))
    except Exception as error:  # noqa: BLE001 - a plugin may fail in any way, anywhere
        text = " ".join(f"{type(error).__name__}: {error}".split())
        verdict = Verdict.BROKEN
        said = f"{who}: expected to keep '{rule.name}', got {text}; mend {_place(error)}"
        trace = traceback.format_exc()
    return Result(
        who, rule.name, rule.asks, verdict, said, trace, round(time.perf_counter() - started, 3)
    )


@contextmanager
def under(rule: str) -> Iterator[None]:
    """A block whose contract errors break a rule."""
    try:
        yield
    except Broken:
        raise
    except ContractError as error:
        raise Broken(rule, str(error)) from None


def undisturbed(trial: Trial) -> None:
    """That no call changed the process, or seeded the global generators.

    Args:
        trial: in which calls were made with these generators in two places.

    Raises:
        ContractError: one did.
    """
    for what, names in trial.disturbed.items():
        if names:
            raise ContractError(
                f"{trial.who}: {what}: expected the process as it was, got another "
                f"{', '.join(sorted(names))}; put back what you change"
            )
    for what, ends in trial.ends.items():
        if len(ends) > 1 and any(
            len({*places}) == 1 for places in zip(*ends.values(), strict=True)
        ):
            raise ContractError(
                f"{trial.who}: {what}: expected global generators that go on from where they "
                "stood, got ones that were seeded anew; open ctx.seeded(purpose) around what draws "
                "from them, and take draws of your own from ctx.rng"
            )


def _at_fault(rule: str, who: str, error: Exception) -> Exception:
    if isinstance(error, Skip | Broken):
        return error
    text = str(error)
    return Broken(rule, text if text.startswith(who.partition(":")[0]) else f"{who}: {text}")


def _place(error: BaseException) -> str:
    """Where a plugin's code failed, for the end of a sentence."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/fpbench/" not in f.filename and "site-packages" not in f.filename]
    last = (own or list(frames))[-1]
    return f"line {last.lineno} of {last.filename.rpartition('/')[2]}"

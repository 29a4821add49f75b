"""All rules of a component, one by one: what `fpbench check` runs, for plugin authors' own tests.

```python
@pytest.mark.parametrize("rule", rules_for(MyMethod), ids=str)
def test_my_method_keeps_every_rule(rule):
    rule.check()
```
"""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fpbench.api import (
    Attack,
    CoalitionAttack,
    Component,
    Dataset,
    Host,
    Method,
    ModelAttack,
    Offer,
)
from fpbench.registry import Catalogue, load
from fpbench.registry.catalogue import KINDS
from fpbench.testing import attack_rules, dataset_rules, host_rules, method_rules, metric_rules
from fpbench.testing.attack_trial import AttackTrial
from fpbench.testing.method_trial import MethodTrial
from fpbench.testing.rules import Result, Rule, Trial, Verdict, judged
from fpbench.testing.shared_rules import (
    OF_CLASSES,
    OF_COMPONENTS,
    Plain,
    Subject,
)
from fpbench.testing.world import World

__all__ = ["KINDS_CHECKED", "BoundRule", "Check", "Setup", "check", "rules_for"]

_TRIALS: Mapping[str, tuple[Callable[[Any, World], Trial], tuple[Rule, ...]]] = {
    "methods": (MethodTrial, method_rules.RULES),
    "attacks": (AttackTrial, attack_rules.RULES),
    "hosts": (host_rules.HostTrial, host_rules.RULES),
    "datasets": (dataset_rules.DatasetTrial, dataset_rules.RULES),
    "metrics": (metric_rules.MetricTrial, metric_rules.RULES),
}
KINDS_CHECKED = tuple(_TRIALS)
"""Kinds that have rules of their own; of others class and parameters are looked at alone."""

_SMALL_HOST: Mapping[str, int] = {
    "channels": 16,
    "embedding_dim": 16,
    "latent_dim": 16,
    "batch": 8,
    "pair_steps": 2,
    "adversarial_steps": 1,
}


@dataclass(frozen=True)
class Setup:
    """What components are tried in.

    Attributes:
        host: that methods build on and attacks meet; None = a tiny linear one, or a small StyleGAN2
            for attacks on weights and where convolutions are asked for.
        dataset: that hosts and methods learn from; None = drawn images.
        size: of drawn images, pixels.
        steps: at which each training is cut; None = at its end.
        weights: folder of files that are brought by hand.
    """

    host: Host[Any] | None = None
    dataset: Dataset[Any] | None = None
    size: int = 32
    steps: int | None = 20
    weights: Path | None = None


class Check:
    """A class, or a component, and what becomes of each rule.

    Args:
        what: a class of a plugin, or a component with parameters small enough to be tried.
        setup: what it is tried in.
        catalogue: of what is installed; None = loaded.
        module: of the plugin, a dotted name or the path of a file; empty = the class's own.
    """

    def __init__(
        self,
        what: type[Component[Any]] | Component[Any],
        setup: Setup | None = None,
        catalogue: Catalogue | None = None,
        module: str = "",
    ) -> None:
        self.cls: Any = what if isinstance(what, type) else type(what)
        self._given = None if isinstance(what, type) else what
        self._setup = setup or Setup()
        self._catalogue = catalogue
        self._module = module
        self.kind = next(
            (kind for kind, base in KINDS.items() if issubclass(self.cls, base)), "components"
        )

    @property
    def who(self) -> str:
        """What it is and its name: `method mine`."""
        return self._subject.who

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All that are asked of its kind."""
        return (*OF_CLASSES, *_TRIALS.get(self.kind, (None, OF_COMPONENTS))[1])

    def result(self, rule: Rule) -> Result:
        """What becomes of one rule."""
        if rule in OF_CLASSES:
            return judged(rule, self._subject, self.who)
        trial, failed = self._trial
        if failed is not None:
            return Result(self.who, rule.name, rule.asks, *failed)
        return judged(rule, trial, self.who)

    def results(self) -> Iterator[Result]:
        """What becomes of all rules, one after the other."""
        return map(self.result, self.rules)

    @cached_property
    def _subject(self) -> Subject:
        if self._catalogue is None:
            self._catalogue = load()
        return Subject(self.kind, self.cls, self._catalogue, self._module)

    @cached_property
    def _trial(self) -> tuple[Any, tuple[Verdict, str] | None]:
        """What it is tried in, or what becomes of all rules that need it."""
        found = judged(OF_CLASSES[0], self._subject, self.who)
        if found.verdict is not Verdict.KEPT:
            return None, (Verdict.NOT_REACHED, f"'{found.rule}' is broken")
        try:
            component = self._given or self.cls(self.cls.Params())
        except ValidationError as error:
            lacking = ", ".join(str(each["loc"][0]) for each in error.errors() if each["loc"])
            said = f"it has parameters without defaults: say them, NAME[{lacking or '…'}=…]"
            return None, (Verdict.SKIPPED, said)
        if self.kind not in _TRIALS:
            return Plain(component), None
        make, _ = _TRIALS[self.kind]
        trial = make(component, self._world(component))
        if isinstance(trial, MethodTrial):
            trial.catalogue = self._catalogue
        return trial, None

    def _world(self, component: Any) -> World:
        setup = self._setup
        host = setup.host
        wants = isinstance(component, ModelAttack | CoalitionAttack) or (
            isinstance(component, Method | Attack) and Offer.CONVOLUTIONS in component.asks
        )
        if host is None and wants:
            cls: Any = self._subject.catalogue.get("hosts", "stylegan2")
            host = cls(cls.Params(**_SMALL_HOST)) if cls is not None else None
        return World(
            host=host,
            dataset=setup.dataset,
            size=setup.size,
            steps=setup.steps,
            weights=setup.weights,
        )


@dataclass(frozen=True)
class BoundRule:
    """One rule of one component, as a test."""

    rule: Rule
    of: Check

    def __str__(self) -> str:
        return self.rule.name

    def check(self) -> None:
        """Pass if the rule is kept.

        Raises:
            AssertionError: it is broken; says who, what was expected, what came, how to mend it.
            unittest.SkipTest: it says nothing here, or stands on one that is broken.
        """
        found = self.of.result(self.rule)
        if found.verdict is Verdict.BROKEN:
            raise AssertionError(f"{found.said}\n{found.trace}".rstrip())
        if found.verdict is not Verdict.KEPT:
            raise unittest.SkipTest(found.said)


def rules_for(
    what: type[Component[Any]] | Component[Any], setup: Setup | None = None
) -> list[BoundRule]:
    """All rules of a component, to be given to a parametrised test; nothing is run yet.

    Args:
        what: a class of a plugin, or a component with parameters small enough to be tried.
        setup: what it is tried in.
    """
    made = Check(what, setup)
    return [BoundRule(rule, made) for rule in made.rules]


def check(
    what: type[Component[Any]] | Component[Any], setup: Setup | None = None
) -> Sequence[Result]:
    """What becomes of every rule of a component.

    Args:
        what: a class of a plugin, or a component with parameters small enough to be tried.
        setup: what it is tried in.
    """
    return list(Check(what, setup).results())

"""Checks that a method keeps its contract; for plugin authors' own tests, seconds on a CPU.

```python
def test_method_keeps_the_contract(tmp_path):
    assert check_method(MyMethod(MyMethod.Params(steps=10)), tmp_path).right > 0.4
```

`fpbench.testing.checks` tries the same rules, and more of them, one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpbench.api import Dataset, Host, Method
from fpbench.testing.method_rules import RULES
from fpbench.testing.method_trial import USERS, MethodTrial
from fpbench.testing.rules import Skip
from fpbench.testing.world import World

_PROMISES = frozenset(
    {
        "runs",
        "shapes",
        "steps",
        "process",
        "lent",
        "repeatable",
        "alone",
        "reach",
        "file",
        "secrets",
    }
)


@dataclass(frozen=True)
class Conformance:
    """What the check measured on the way.

    Attributes:
        right: over a few untouched copies, the mean share of right bits; of scores, of images whose
            largest is their user's; of presences, of images that are above 0.
        leaked: names of steps of a copy that the host does not have.
        sealed: why a copy cannot be packed into a file and opened again; empty if it can.
    """

    right: float
    leaked: tuple[str, ...]
    sealed: str


def check_method(
    method: Method[Any],
    scratch: Path,
    *,
    host: Host[Any] | None = None,
    dataset: Dataset[Any] | None = None,
    train: int = 256,
    size: int = 32,
) -> Conformance:
    """Fit, issue, assemble and extract as the harness does, with every promise checked.

    Args:
        method: with parameters small enough for a test.
        scratch: an empty folder.
        host: the host to build on; a tiny linear one if None.
        dataset: what it is trained on, and by whose conditions samples are drawn; drawn images if
            None. Its modality must be registered.
        train: training images, of drawn ones.
        size: size of these, pixels.

    Raises:
        ContractError: a promise is broken; says which.
    """
    trial = MethodTrial(method, World(scratch, host=host, dataset=dataset, train=train, size=size))
    sealed = ""
    for rule in RULES:
        if rule.name in _PROMISES:
            try:
                rule.judge(trial)
            except Skip as reason:
                sealed = str(reason) if rule.name == "file" else sealed
    steps, hosts = trial.copy(USERS - 1).steps, trial.world.trained.generator.steps
    return Conformance(trial.right(), tuple(name for name in steps if name not in hosts), sealed)

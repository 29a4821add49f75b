"""What is asked before anything runs: whether this system can, and whether the user lets it."""

from __future__ import annotations

import os

from fpbench.api import SpecError
from fpbench.api.params import commands
from fpbench.plan import Plan


def check_system() -> None:
    """Refuse to run a suite on Windows.

    Raises:
        SpecError: this is Windows.
    """
    if os.name == "nt":
        raise SpecError(
            [
                "run: expected Linux or macOS, got Windows, where fpbench reads, verifies and "
                "reports boards; run suites in WSL, a container or on another machine"
            ]
        )


def refuse_commands(plan: Plan, step: str) -> None:
    """A suite is a text that people hand on; what it would run here is looked at first.

    Args:
        plan: of the suite.
        step: what allows it, e.g. "run again with --allow-commands".

    Raises:
        SpecError: it brings commands or functions.
    """
    suite = plan.suite
    parts = {f"dataset {suite.dataset.name}": suite.dataset, f"host {suite.host.name}": suite.host}
    parts |= {f"method {method.label}": method.component for method in suite.methods}
    parts |= {f"attack {attack.label}": attack.component for attack in suite.attacks}
    problems = [
        f"{who}: expected to be allowed to run its `{name}`, {said}, got no such leave; look at "
        f"it, and {step}"
        for who, component in parts.items()
        for name, said in commands(component.params).items()
    ]
    if problems:
        raise SpecError(problems)

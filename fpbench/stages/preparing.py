"""What an adversary learns before he meets any copy: an autoencoder, a surrogate."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from torch import Tensor

from fpbench.api import Access, Attack, NoSpace, Surface
from fpbench.plan import Stage
from fpbench.spec import SuiteAttack
from fpbench.stages.bench import Bench, attack_root
from fpbench.stages.boundary import Loan
from fpbench.stages.checks import check_state
from fpbench.stages.context import to_arrays


def prepare(stage: Stage, bench: Bench) -> None:
    """Let an attack learn; what fails, fails again where copies are read, whose cells say so."""
    try:
        prepared(bench, *stage.of_attack)
    except NoSpace:
        raise
    except Exception as error:  # noqa: BLE001 - a plugin may fail in any way
        del error


def prepared(bench: Bench, attack: SuiteAttack, component: Attack[Any]) -> Loan:
    """What an attack, or a candidate of a tuned one, has learnt; empty where it learns nothing."""
    key = bench.plan.prepared_key(attack, component)
    if key and not bench.store.has(key):
        _learn(bench, attack, component, key)
    return bench.prepared(attack, component)


def prepared_s(bench: Bench, attack: SuiteAttack, component: Attack[Any]) -> float:
    """Seconds that it has learnt for."""
    prepared(bench, attack, component)
    key = bench.plan.prepared_key(attack, component)
    return float(bench.store.meta(key)["cost"]["wall_s"]) if key else 0.0


def _learn(bench: Bench, attack: SuiteAttack, component: Attack[Any], key: str) -> None:
    started, who = time.monotonic(), f"attack {attack.label}: fit"
    ctx = bench.context(*attack_root(component), "fit", key=key)
    public = Access.PUBLIC_HOST in component.access
    loans = [bench.host_loan] if public else []
    with bench.visit(who, *loans):
        surface = Surface(
            opened=component.access & {Access.CLEAN_IMAGES, Access.PUBLIC_HOST},
            attack=attack.label,
            _clean_images=_clean(bench, attack, component),
            _public_host=bench.lent_host() if public else None,
        )
        state = check_state(who, component.fit(surface, ctx))
    meta = {"cost": {"wall_s": time.monotonic() - started}}
    bench.store.put(key, to_arrays(state), meta)
    bench.store.drop_checkpoints(key)


def _clean(bench: Bench, attack: SuiteAttack, component: Attack[Any]) -> Tensor | None:
    if Access.CLEAN_IMAGES not in component.access:
        return None
    numbers = np.arange(attack.options.clean_images)
    return bench.test_images.read(bench.suite.clean_from + numbers)

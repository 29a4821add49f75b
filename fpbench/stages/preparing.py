"""What an adversary learns before he meets any copy: an autoencoder, a surrogate."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpbench.api import Access, Attack, NoSpace, PostHocMethod, Surface
from fpbench.api.post import PostStep
from fpbench.plan import Fit, Stage
from fpbench.plan.points import learns_method
from fpbench.spec import SuiteAttack
from fpbench.stages import boundary
from fpbench.stages.bench import Bench, attack_root, chunks, images_of
from fpbench.stages.boundary import Loan
from fpbench.stages.checks import check_state
from fpbench.stages.context import to_arrays
from fpbench.stages.issue import copy_of

_OPENED = frozenset({Access.CLEAN_IMAGES, Access.PUBLIC_HOST, Access.MARKED, Access.EMBEDDER})


def prepare(stage: Stage, bench: Bench) -> None:
    """Let an attack learn; what fails, fails again where copies are read, whose cells say so."""
    try:
        _known(bench, stage.fit, *stage.of_attack)
    except NoSpace:
        raise
    except Exception as error:  # noqa: BLE001 - a plugin may fail in any way
        del error


def prepared(bench: Bench, fit: Fit, attack: SuiteAttack, component: Attack[Any]) -> Loan:
    """What an attack, or a candidate of a tuned one, has learnt; empty where it learns nothing."""
    _known(bench, fit, attack, component)
    return bench.prepared(fit, attack, component)


def prepared_s(bench: Bench, fit: Fit, attack: SuiteAttack, component: Attack[Any]) -> float:
    """Seconds that it has learnt for."""
    key = _known(bench, fit, attack, component)
    return float(bench.store.meta(key)["cost"]["wall_s"]) if key else 0.0


def _known(bench: Bench, fit: Fit | None, attack: SuiteAttack, component: Attack[Any]) -> str:
    """Key of what it has learnt, by now at the latest."""
    key = bench.plan.prepared_key(fit, attack, component)
    if key and not bench.store.has(key):
        _learn(bench, fit if learns_method(component) else None, attack, component, key)
    return key


def _learn(
    bench: Bench, fit: Fit | None, attack: SuiteAttack, component: Attack[Any], key: str
) -> None:
    started, who = time.monotonic(), f"attack {attack.label}: fit"
    ctx = bench.context(*attack_root(component), "fit", key=key)
    public = Access.PUBLIC_HOST in component.access
    loans = [bench.host_loan] if public or fit is not None else []
    loans += [bench.fit_loan(fit)] if fit is not None else []
    with bench.visit(who, *loans):
        surface = Surface(
            opened=component.access & _OPENED,
            attack=attack.label,
            _clean_images=_clean(bench, attack, component),
            _public_host=bench.lent_host() if public else None,
            _marked_images=None if fit is None else lambda count: _of_others(bench, fit, count),
            _embed=None if fit is None else embedding(bench, fit),
            _bits=None if fit is None else fit.method.component.bits,
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


def _of_others(bench: Bench, fit: Fit, count: int) -> Tensor:
    """Images of the copies of users who are never reported, who take turns."""
    users = bench.plan.tuning_users(fit)
    who, images = f"{fit.method.label}: sample", dict[int, Tensor]()
    for turn, user in enumerate(users):
        own = range(turn, count, len(users))
        copy, wanted = copy_of(bench, fit, user), images_of(f"others {user}", len(own))
        for chunk in chunks(len(own)):
            latents = bench.latents(copy, [wanted[i] for i in chunk])
            drawn = boundary.drawn(copy, latents)
            made = bench.modality.check(who, drawn, len(chunk), bench.info)
            images |= {own[i]: image for i, image in zip(chunk, made, strict=True)}
    whole = torch.stack([images[i] for i in range(count)])
    last = whole.dim() == 4
    return whole.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def embedding(bench: Bench, fit: Fit) -> Callable[[Tensor, Tensor], Tensor] | None:
    """What marks samples (N, ...) with a code (K,) as a post-hoc method does; None of others."""
    method = fit.method.component
    if not isinstance(method, PostHocMethod):
        return None

    def embed(images: Tensor, code: Tensor) -> Tensor:
        state = bench.fit_loan(fit).lent()
        module = method.embedder(state, bench.context("assemble"))
        with torch.no_grad():
            marked: Tensor = PostStep(module, code, bench.modality).to(bench.device)(images)
        return bench.modality.to_file(marked)

    return embed

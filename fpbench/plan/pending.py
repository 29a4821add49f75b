"""What of a stage is not stored yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fpbench.plan.plan import Plan
from fpbench.plan.points import AttackPoint, Fit, Want
from fpbench.plan.stages import Kind, Stage
from fpbench.store import Store

Pending = dict[AttackPoint | None, list[Want]]
"""Model point -> the columns that its reading lacks."""


def is_done(stage: Stage, plan: Plan, store: Store) -> bool:
    """Whether nothing of a stage is left to do."""
    if stage.kind is Kind.COPY:
        return not pending_of_copy(plan, store, stage.of_fit, stage.of_user)
    if stage.kind is Kind.NEGATIVES:
        fit = stage.of_fit
        return not any(pending_of(plan, store, fit, s) for s in plan.sources(fit, None))
    if stage.kind is Kind.MEASURING:
        return all(store.has(cell.key) for cell in stage.cells)
    return store.has(stage.key)


def share_pending(stage: Stage, plan: Plan, store: Store) -> float:
    """What part of a stage is left to do, in columns of readings or cells; 1 of what is one thing.

    A copy on which everything but one image attack has been read is soon done.
    """
    if stage.kind is Kind.COPY:
        points = plan.open_points(stage.of_fit)
        there = [m for m in points if plan.subject(stage.of_fit, m, stage.of_user) is not None]
        whole = sum(len(plan.wants(stage.of_fit, model)) for model in there)
        pending = pending_of_copy(plan, store, stage.of_fit, stage.of_user)
        return sum(map(len, pending.values())) / max(whole, 1)
    if stage.kind is Kind.MEASURING:
        lacking = sum(not store.has(cell.key) for cell in stage.cells)
        return lacking / max(len(stage.cells), 1)
    return 1.0


def pending_of_copy(plan: Plan, store: Store, fit: Fit, user: int) -> Pending:
    """Of a copy, and of the coalitions that it is first in."""
    keys = {
        model: plan.reading_key(fit, index, model)
        for model in plan.open_points(fit)
        if (index := plan.subject(fit, model, user)) is not None
    }
    return _pending(store, plan, fit, keys, lambda model: plan.wants(fit, model))


def pending_of(plan: Plan, store: Store, fit: Fit, source: str) -> Pending:
    """Of a source of images of nobody, which are only read: no backbone is asked."""
    keys = {
        model: plan.null_key(fit, source, model)
        for model in plan.open_points(fit)
        if source in plan.sources(fit, model)
    }
    return _pending(store, plan, fit, keys, lambda model: _read_only(plan, fit, model))


def _read_only(plan: Plan, fit: Fit, model: AttackPoint | None) -> list[Want]:
    return [want for want in plan.wants(fit, model) if want.backbone is None]


def _pending(
    store: Store,
    plan: Plan,
    fit: Fit,
    keys: Mapping[AttackPoint | None, str],
    wants: Callable[[AttackPoint | None], list[Want]],
) -> Pending:
    pending: Pending = {}
    for model, key in keys.items():
        there = store.columns(key)
        lacking = [want for want in wants(model) if plan.column(fit, want) not in there]
        if lacking:
            pending[model] = lacking
    return pending

"""What a plan keeps in a store, and what each of it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fpbench.plan import AttackPoint, Cell, Fit, Graph, Kind, Plan, Stage, graph_of
from fpbench.plan.stages import TRAINS, cell_label

READING = "reading"
NULL = "negatives"
CELL = "cell"


@dataclass(frozen=True)
class Artefact:
    """Something that a stage of a plan keeps in the store.

    Attributes:
        key: its name there.
        kind: of the stage that it is all of; else "reading", "negatives", "cell", "sheet",
            "drawing", "snapshots", "training-images" or "training-features".
        label: for people.
        stage: key of the stage that makes it.
        fit: the training whose readings it holds; None for all else.
        model: the model point of a reading.
        cell: the cell whose numbers it is; None for all else.
    """

    key: str
    kind: str
    label: str
    stage: str
    fit: Fit | None = None
    model: AttackPoint | None = None
    cell: Cell | None = None


def artefacts_of(plan: Plan) -> dict[str, str]:
    """Key -> kind of everything that a plan may keep in a store, kept there by now or not."""
    return {key: artefact.kind for key, artefact in artefacts(plan, graph_of(plan)).items()}


def artefacts(plan: Plan, graph: Graph) -> dict[str, Artefact]:
    """Key -> artefact of everything that a plan may keep in a store."""
    found: dict[str, Artefact] = {}
    for stage in graph.stages.values():
        for artefact in _of_stage(plan, stage):
            # What several trainings share is its first one's.
            found.setdefault(artefact.key, artefact)
    return found


def _of_stage(plan: Plan, stage: Stage) -> Iterator[Artefact]:
    if stage.kind is Kind.MEASURING:
        for cell in stage.cells:
            yield Artefact(cell.key, CELL, cell_label(cell), stage.key, cell=cell)
    elif stage.kind is Kind.COPY:
        yield from _of_copy(plan, stage)
    elif stage.kind is Kind.NEGATIVES:
        yield from _of_negatives(plan, stage)
    else:
        yield Artefact(stage.key, str(stage.kind), stage.label, stage.key)
        yield from _beside(plan, stage)


def _beside(plan: Plan, stage: Stage) -> Iterator[Artefact]:
    """What a stage keeps beside its result."""
    if stage.kind in TRAINS:
        key, label = plan.training_images_key(stage.key), f"samples of “{stage.label}”"
        yield Artefact(key, "training-images", label, stage.key)
    if not plan.suite.training.snapshots:
        return
    if stage.kind in TRAINS:
        key, label = plan.snapshots_key(stage.key), f"snapshots of “{stage.label}”"
        yield Artefact(key, "snapshots", label, stage.key)
    if stage.kind in {Kind.HOST_CHOICE, Kind.CHOICE} and plan.chooser is not None:
        key = plan.training_features_key(plan.chooser)
        yield Artefact(key, "training-features", "features of training images", stage.key)


def _of_copy(plan: Plan, stage: Stage) -> Iterator[Artefact]:
    fit, user = stage.of_fit, stage.of_user
    for model in plan.open_points(fit):
        index = plan.subject(fit, model, user)
        if index is not None:
            key, label = plan.reading_key(fit, index, model), _under(stage.label, model)
            yield Artefact(key, READING, label, stage.key, fit, model)
    yield from _images(plan, stage, user)


def _of_negatives(plan: Plan, stage: Stage) -> Iterator[Artefact]:
    fit = stage.of_fit
    for model in plan.open_points(fit):
        for source in plan.sources(fit, model):
            key, label = plan.null_key(fit, source, model), _under(stage.label, model)
            yield Artefact(key, NULL, f"{label}, {source} images", stage.key, fit, model)
    yield from _images(plan, stage, None)


def _images(plan: Plan, stage: Stage, user: int | None) -> Iterator[Artefact]:
    """Images that are kept of a copy or of the host."""
    fit = stage.of_fit
    for model in plan.open_points(fit):
        label = _under(stage.label, model)
        if key := plan.sheet_key(fit, user, model):
            yield Artefact(key, "sheet", f"{label}, images to show", stage.key)
        if key := plan.drawing_key(fit, user, model):
            yield Artefact(key, "drawing", f"{label}, images as drawn", stage.key)


def _under(label: str, model: AttackPoint | None) -> str:
    return label if model is None else f"{label} under {model.label}"

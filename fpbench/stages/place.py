"""Where a stage is: in which attack on which model, so that whoever ends its process is known."""

from __future__ import annotations

from collections.abc import Collection

from fpbench.plan import AttackPoint, Point, Want

Place = tuple[str | None, str | None]
"""Labels of the model point and of the image point; None of the second = all that is read there."""


def place_of(model: AttackPoint | None, image: AttackPoint | None = None) -> Place:
    """The place of a point."""
    return (model.label if model is not None else None, image.label if image is not None else None)


def within(point: Point, place: Place) -> bool:
    """Whether a point is lost where a process ends at a place."""
    model, image = place_of(point.model, point.image)
    return model == place[0] and place[1] in (None, image)


def left(
    pending: dict[AttackPoint | None, list[Want]], skip: Collection[Place]
) -> dict[AttackPoint | None, list[Want]]:
    """What is pending without what is at some places."""
    if not skip:
        return pending
    found = {
        model: [
            want
            for want in wants
            if not any(within(Point(model, want.image), place) for place in skip)
        ]
        for model, wants in pending.items()
    }
    return {model: wants for model, wants in found.items() if wants}

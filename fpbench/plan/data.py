"""What a plan asks of the images: that there are enough, and what identifies them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fpbench.api import Host, Method, SampleInfo, SpecError
from fpbench.plan.faults import Fault, asked
from fpbench.plan.identity import identity
from fpbench.spec import Suite


@dataclass(frozen=True)
class DataFacts:
    """What keys say of the images; with it a plan can be made where the images are not.

    Attributes:
        size: height and width in pixels.
        counts: number of images in each split.
        digest: of the data set, see `Dataset.digest`.
    """

    size: int
    counts: dict[str, int]
    digest: str


def look_at(suite: Suite) -> DataFacts:
    """The facts of a suite's images.

    Raises:
        MissingResource: they are not there.
    """
    info = suite.dataset.info()
    return DataFacts(info.size, dict(info.counts), suite.dataset.digest())


def check_data(suite: Suite, facts: DataFacts) -> None:
    """Refuse images that cannot be what the suite asks for.

    Raises:
        SpecError: there are too few, or a host or method cannot be trained on them.
    """
    wanted = {"train": 1, "test": suite.carriers_from + suite.carriers, "reference": 2}
    problems = [
        f"dataset {suite.dataset.name}: expected at least {number} images in the split '{split}', "
        f"got {facts.counts.get(split, 0)}; give it more images or lower [negatives] real and "
        "clean_images"
        for split, number in wanted.items()
        if facts.counts.get(split, 0) < number
    ]
    trained: dict[str, Host[Any] | Method[Any]] = {f"host {suite.host.name}": suite.host}
    trained |= {f"method {m.label}": m.component for m in suite.methods}
    info = SampleInfo.of_images(facts.size, facts.counts)
    problems = problems or [
        f"{who}: {objection}"
        for who, component in trained.items()
        if (objection := _objection(who, component, info, suite.population.copies))
    ]
    if problems:
        raise SpecError(problems)


def _objection(who: str, component: Host[Any] | Method[Any], info: SampleInfo, users: int) -> str:
    told = (info,) if isinstance(component, Host) else (info, users)
    try:
        return asked(f"{who}: objection", component.objection, *told)
    except Fault:
        if isinstance(component, Host):
            raise
        return ""  # its cells say so


def data_identity(suite: Suite, facts: DataFacts) -> dict[str, Any]:
    """The part of a stage key that the images contribute."""
    return {
        **identity(suite.dataset),
        "size": facts.size,
        "counts": facts.counts,
        "digest": facts.digest,
    }

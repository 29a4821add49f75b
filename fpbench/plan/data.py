"""What a plan asks of the images: that there are enough, and what identifies them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fpbench.api import SampleInfo, SpecError
from fpbench.plan.faults import Fault, asked
from fpbench.plan.identity import identity
from fpbench.plan.points import served
from fpbench.spec import Suite, SuiteMethod


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
    info = SampleInfo.of_images(facts.size, facts.counts)
    hosts = {f"host {suite.host.name}": suite.host}
    hosts |= {f"stranger {other.label}": other.component for other in suite.strangers}
    found = {who: asked(f"{who}: objection", host.objection, info) for who, host in hosts.items()}
    found |= {f"method {m.label}": _objection(suite, m, info) for m in suite.methods}
    problems = problems or [f"{who}: {text}" for who, text in found.items() if text]
    if problems:
        raise SpecError(problems)


def _objection(suite: Suite, method: SuiteMethod, info: SampleInfo) -> str:
    try:
        users = served(suite, method)
        return asked(f"method {method.label}: objection", method.component.objection, info, users)
    except Fault:
        return ""  # its cells say so


def data_identity(suite: Suite, facts: DataFacts) -> dict[str, Any]:
    """The part of a stage key that the images contribute."""
    return {
        **identity(suite.dataset),
        "size": facts.size,
        "counts": facts.counts,
        "digest": facts.digest,
    }

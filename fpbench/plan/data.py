"""What a plan asks of the images: that there are enough, and what identifies them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fpbench.api import Host, Method, Modality, SampleInfo, SpecError
from fpbench.backbones.speech import LIBRARIES, RATES
from fpbench.builtin.audio.modality import Audio
from fpbench.builtin.image.modality import Image
from fpbench.plan.faults import Fault, asked
from fpbench.plan.identity import identity
from fpbench.plan.keys import trimmed
from fpbench.plan.points import served
from fpbench.registry import Catalogue
from fpbench.spec import Backbone, Suite, SuiteMethod

_NOUNS = {"image": "image", "audio": "sound"}
_CURES = {
    "train": "give it more {}, or lower [dataset] test and reference",
    "test": "give it more {} or lower [negatives] real and clean_images",
    "reference": "give it more {}, or lower [dataset] test",
}


@dataclass(frozen=True)
class DataFacts:
    """What keys say of the samples; with it a plan can be made where the samples are not.

    Attributes:
        size: height and width of an image, pixels; length of a sound.
        counts: number of samples in each split.
        digest: of the data set, see `Dataset.digest`.
        modality: as the other attributes in `SampleInfo`.
        shape: of one sample; empty = of a square image of that size.
        dtype: of samples.
        rate: of sounds.
        conditions: of samples.
    """

    size: int
    counts: dict[str, int]
    digest: str
    modality: str = Image.name
    shape: tuple[int, ...] = ()
    dtype: str = "uint8"
    rate: int | None = None
    conditions: str = ""

    @property
    def info(self) -> SampleInfo:
        """What components are told of the samples."""
        shape = self.shape or (3, self.size, self.size)
        return SampleInfo(self.modality, shape, self.dtype, self.counts, self.rate, self.conditions)


def look_at(suite: Suite, progress: Callable[[int, int], None] | None = None) -> DataFacts:
    """The facts of a suite's samples.

    Args:
        suite: whose.
        progress: is told how many samples of how many are looked at, where that takes long.

    Raises:
        MissingResource: they are not there.
    """
    if progress is not None:
        suite.dataset.look(progress)
    info = suite.dataset.info()
    return DataFacts(
        info.size,
        dict(info.counts),
        suite.dataset.digest(),
        info.modality,
        tuple(info.shape),
        info.dtype,
        info.rate,
        info.conditions,
    )


def modality_of(suite: Suite, facts: DataFacts, catalogue: Catalogue) -> Modality[Any]:
    """What kind of thing the samples of a suite are.

    Raises:
        SpecError: nobody offers it.
    """
    found = catalogue.get("modalities", facts.modality)
    if found is None:
        unknown = catalogue.unknown("modalities", facts.modality)
        raise SpecError([f"dataset {suite.dataset.name}: {unknown}"])
    modality: Any = found(found.Params())
    return modality  # type: ignore[no-any-return]


def noun(modality: str) -> str:
    """What a sample of a modality is called."""
    return _NOUNS.get(modality, "sample")


def budgeted(suite: Suite, modality: Modality[Any]) -> Suite:
    """The suite with a budget of damage in what its samples' damage is in."""
    if suite.score.sample_budget is not None:
        return suite
    score = suite.score.model_copy(update={"sample_budget": modality.sample_budget})
    return replace(suite, score=score)


def check_data(suite: Suite, facts: DataFacts) -> None:
    """Refuse samples that cannot be what the suite asks for.

    Raises:
        SpecError: there are too few, or a host or method is not for them or cannot learn from them.
    """
    problems = too_few(suite, facts.info)
    info = facts.info
    hosts = {f"host {suite.host.name}": suite.host}
    hosts |= {f"stranger {other.label}": other.component for other in suite.strangers}
    problems += _foreign(suite, info, hosts)
    found = {} if problems else _objections(suite, info, hosts)
    objections = [f"{who}: {text}" for who, text in found.items() if text]
    problems += [*_held_back(suite, facts.counts), *objections] if objections else []
    if problems:
        raise SpecError(problems)


def too_few(suite: Suite, info: SampleInfo) -> list[str]:
    """A sentence for each split that has fewer samples than the suite asks for."""
    # A user's pictures are different ones.
    shown = suite.population.images if suite.host.pictures else 0
    wanted = {"train": 1, "test": suite.pictures_from + shown, "reference": 2}
    what, counts = f"{noun(info.modality)}s", info.counts
    return [
        f"dataset {suite.dataset.name}: expected at least {number} {what} in the split '{split}', "
        f"got {counts.get(split, 0)}; {_CURES[split].format(what)}"
        for split, number in wanted.items()
        if counts.get(split, 0) < number
    ]


def _held_back(suite: Suite, counts: Mapping[str, int]) -> list[str]:
    """Where the images are that trainings lack: in the splits that are filled before theirs."""
    train, test, reference = (counts.get(split, 0) for split in ("train", "test", "reference"))
    if train >= max(test, reference):
        return []
    return [
        f"dataset {suite.dataset.name}: of {train + test + reference:,} images {test:,} are in "
        f"test and {reference:,} in reference, so that {train:,} are left to train on; lower "
        "[dataset] test and reference, or bring more images"
    ]


def _foreign(suite: Suite, info: SampleInfo, hosts: Mapping[str, Host[Any]]) -> list[str]:
    """What of a suite is for samples of other modalities than the data set's."""
    served: dict[str, Host[Any] | Method[Any]] = {**hosts}
    served |= {f"method {method.label}": method.component for method in suite.methods}
    found = [
        f"{who}: expected samples of {', '.join(sorted(component.modalities))}, got {info.modality}"
        f" of the dataset {suite.dataset.name}; take another one, or another dataset"
        for who, component in served.items()
        if info.modality not in component.modalities
    ]
    return found + [why for backbone in suite.backbones if (why := _unheard(suite, backbone, info))]


def _unheard(suite: Suite, backbone: Backbone, info: SampleInfo) -> str:
    """Why a published measure has nothing to say of a data set; empty if it has."""
    of = f"of the dataset {suite.dataset.name}; take its [[backbones]] table away"
    wanted = Audio.name if backbone.use in LIBRARIES else Image.name
    if info.modality != wanted:
        return f"backbone {backbone.use}: expected {noun(wanted)}s, got {info.modality} {of}"
    if backbone.use == "pesq" and info.rate not in RATES:
        rates = " or ".join(f"{rate:,}" for rate in RATES)
        return f"backbone pesq: expected {rates} samples a second, got {info.rate:,} {of}"
    return ""


def _objections(suite: Suite, info: SampleInfo, hosts: Mapping[str, Host[Any]]) -> dict[str, str]:
    found = {who: asked(f"{who}: objection", host.objection, info) for who, host in hosts.items()}
    return found | {f"method {m.label}": _objection(suite, m, info) for m in suite.methods}


def _objection(suite: Suite, method: SuiteMethod, info: SampleInfo) -> str:
    try:
        users = served(suite, method)
        return asked(f"method {method.label}: objection", method.component.objection, info, users)
    except Fault:
        return ""  # its cells say so


def data_identity(suite: Suite, facts: DataFacts, modality: Modality[Any]) -> dict[str, Any]:
    """The part of a stage key that the samples contribute."""
    return {
        **identity(suite.dataset),
        "size": facts.size,
        "counts": facts.counts,
        "digest": facts.digest,
        **modality_identity(facts, modality),
    }


def modality_identity(facts: DataFacts, modality: Modality[Any]) -> dict[str, Any]:
    """The part of a stage key that a modality contributes; images are what keys do not tell."""
    if isinstance(modality, Image):
        return {}
    told = {"shape": list(facts.shape), "dtype": facts.dtype, "rate": facts.rate}
    return {"modality": {**identity(modality), **trimmed(told)}}

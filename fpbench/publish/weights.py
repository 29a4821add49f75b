"""The trained states in a bundle: `weights/`, with a card and a file of safetensors for each.

    weights/card.json              what they are of, under which licences
    weights/host.safetensors       the host's state
    weights/fit-N.safetensors      the state of training N of the card
    weights/enrol-N.safetensors    what its method has prepared of all registered users

They hold secrets of their owner. Whoever has them can read the codes of these trainings and forge
them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fpbench.api import Component, SpecError, StoreError
from fpbench.api.errors import nearest
from fpbench.api.params import commands, local_names
from fpbench.plan import Fit, Plan
from fpbench.publish import redact
from fpbench.publish.archive import MOST_BYTES
from fpbench.publish.manifest import WEIGHTS, Sha256
from fpbench.registry import Catalogue
from fpbench.spec.model import component_json
from fpbench.store import Store

CARD, HOST = f"{WEIGHTS}/card.json", f"{WEIGHTS}/host.safetensors"
NOTICE = (
    "whoever has these weights can read and forge the codes of their trainings: they hold the "
    "owner's extractors and keys. The benchmark's codes are public; a registry's are not in here"
)
_KEPT = frozenset({"latents", "pictures"})
"""As hosts call what their states keep of the data set's samples, encoded or as they are."""

Name = Annotated[str, Field(pattern=rf"^{WEIGHTS}/(?:fit|enrol)-\d+\.safetensors$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Made(_Strict):
    """A component that a state is of.

    Attributes:
        name: of the component.
        version: of the component.
        params: all of them; of files on the machine that trained it the names alone.
        digest: of these files; empty where there are none.
        distribution: what offers it.
        licence: of the component, and of what it carries.
        outside: the files that it was made with, and what is to be known of them; empty = none.
    """

    name: str
    version: str
    params: dict[str, Any]
    digest: str
    distribution: str
    licence: str
    outside: str


class Training(_Strict):
    """A trained method.

    Attributes:
        label: its name on the board.
        seed: index of the training.
        method: what was trained.
        key: of its state in the run's store.
        training: key of its training, which a registry of users knows it by.
        state: file of its state.
        enrolled: file of what it has prepared of all registered users; empty where it is nothing.
    """

    label: str
    seed: int
    method: Made
    key: Sha256
    training: Sha256
    state: Name
    enrolled: Name | Literal[""] = ""

    @property
    def files(self) -> list[str]:
        """Of the bundle."""
        return [self.state, *([self.enrolled] if self.enrolled else [])]


class WeightsCard(_Strict):
    """What a bundle says of its trained states.

    Attributes:
        format: of this file.
        notice: what whoever holds them must know.
        host: what the host is.
        host_key: of its state in the run's store.
        trainings: of methods.
    """

    format: Literal[1] = 1
    notice: str = NOTICE
    host: Made
    host_key: Sha256
    trainings: Annotated[tuple[Training, ...], Field(min_length=1)]

    @property
    def files(self) -> set[str]:
        """All that lies beside the card."""
        return {HOST, *(name for each in self.trainings for name in each.files)}


def take_weights(
    plan: Plan, catalogue: Catalogue, store: Store, labels: Sequence[str], folder: Path
) -> dict[str, Path]:
    """Write the trained states of a run below a folder; name in the bundle -> file.

    Args:
        plan: of the run.
        catalogue: that it was made with.
        store: of the run.
        labels: of the methods; empty = all whose states may be given.
        folder: where `weights` is made.

    Raises:
        SpecError: a method is unknown, or it or the host cannot be given as weights.
        StoreError: the store lacks a state, or they are too large.
    """
    _check_host(plan)
    host, fits = plan.suite.host, _chosen(plan, labels)
    lacking = [fit for fit in fits if not all(map(store.has, _keys(plan, fit)))]
    if lacking or not fits:
        named = ", ".join(dict.fromkeys(fit.method.label for fit in lacking)) or "any method"
        raise _refused(
            f"the trained states of {named} in {store.root}",
            "none of the source that is installed now; run the suite again, name the run's --store "
            "or choose methods with -m",
        )
    (folder / WEIGHTS).mkdir()
    _write(folder / HOST, store, plan.host_key, f"host {host.name}")
    trainings = []
    for number, fit in enumerate(fits):
        names = [f"{WEIGHTS}/{kind}-{number}.safetensors" for kind in ("fit", "enrol")]
        for name, key in zip(names, _keys(plan, fit), strict=False):
            _write(folder / name, store, key, fit.method.label)
        trainings.append(_training(fit, names, catalogue))
    card = WeightsCard(
        host=_made("hosts", host, catalogue), host_key=plan.host_key, trainings=tuple(trainings)
    )
    (folder / CARD).write_text(_text(card), encoding="utf-8")
    found = {name: folder / name for name in [CARD, *sorted(card.files)]}
    if (size := sum(file.stat().st_size for file in found.values())) > MOST_BYTES:
        raise _refused(f"at most {MOST_BYTES:,} bytes", f"{size:,}; choose methods with -m")
    return found


def read_weights_card(folder: Path) -> WeightsCard | None:
    """The card in an unpacked bundle; None where it has no weights.

    Raises:
        StoreError: it is no card, or names other files than there are.
    """
    there = {f"{WEIGHTS}/{path.name}" for path in (folder / WEIGHTS).glob("*")} - {CARD}
    if not (folder / CARD).is_file():
        if there:
            raise _wrong(f"a card in {CARD}", "none")
        return None
    card = parsed_card((folder / CARD).read_bytes())
    if there != card.files:
        raise _wrong(f"the files that {CARD} names", f"others, e.g. {min(there ^ card.files)}")
    return card


def parsed_card(data: bytes) -> WeightsCard:
    """The card in a file.

    Raises:
        StoreError: it is none.
    """
    try:
        return WeightsCard.model_validate_json(data)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the whole"
        raise _wrong(f"a card of format 1 in {CARD}", f"{where[:200]}: {fault['msg']}") from None


def problems_of_weights(folder: Path, labels: Sequence[str]) -> Iterator[str]:
    """What is wrong with the weights of an unpacked bundle.

    Args:
        folder: of the bundle.
        labels: of the suite's methods.
    """
    try:
        card = read_weights_card(folder)
    except StoreError as error:
        yield str(error)
        return
    for training in card.trainings if card else ():
        if training.label not in labels:
            yield f"weights: expected trainings of the suite's methods, got {training.label!r}"
    for file in sorted((folder / WEIGHTS).glob("*.safetensors")):
        try:
            if holds_images(file):
                yield f"weights: expected no images in {file.name}, got some; export again"
        except SafetensorError as error:
            yield f"weights: expected arrays in {file.name}, got {error}; export again"


def holds_images(file: Path) -> bool:
    """Whether a file of safetensors has arrays that could be images; its head tells.

    Raises:
        SafetensorError: it is none.
    """
    with safe_open(file, framework="np") as arrays:
        parts = [arrays.get_slice(name) for name in arrays.keys()]  # noqa: SIM118 - no dict
        return any(p.get_dtype() == "U8" and len(p.get_shape()) > 2 for p in parts)


# -- what is given -----------------------------------------------------------------------------


def _check_host(plan: Plan) -> None:
    host = plan.suite.host
    if host.pictures:
        raise SpecError(
            [
                f"host {host.name}: expected a host with weights, got one whose state is samples "
                "of the data set; export without --weights"
            ]
        )
    if told := commands(host.params):
        raise SpecError([_command(f"host {host.name}", told)])


def _chosen(plan: Plan, labels: Sequence[str]) -> list[Fit]:
    there = list(dict.fromkeys(fit.method.label for fit in plan.fits))
    for label in labels:
        if label not in there:
            raise SpecError([f"-m: unknown method '{label}'{nearest(label, there)}"])
    found = [fit for fit in plan.fits if not labels or fit.method.label in labels]
    brought = {fit.method.label: commands(fit.method.component.params) for fit in found}
    if problems := [_command(label, brought[label]) for label in labels if brought[label]]:
        raise SpecError(problems)
    return [fit for fit in found if not brought[fit.method.label]]


def _command(who: str, told: dict[str, str]) -> str:
    return (
        f"{who}: expected a component that is made of weights, got one that runs the suite's "
        f"`{next(iter(told))}`; hand out the suite instead"
    )


def _keys(plan: Plan, fit: Fit) -> list[str]:
    """Keys of a training's state and, where there is one, of its registry."""
    return [fit.key, *([plan.enrol_key(fit)] if fit.enrols else [])]


def _training(fit: Fit, names: Sequence[str], catalogue: Catalogue) -> Training:
    return Training(
        label=fit.method.label,
        seed=fit.seed,
        method=_made("methods", fit.method.component, catalogue),
        key=fit.key,
        training=fit.training,
        state=names[0],
        enrolled=names[1] if fit.enrols else "",
    )


def _made(kind: str, component: Component[Any], catalogue: Catalogue) -> Made:
    # Without local paths, as everything in a bundle.
    said = redact.suite(component_json(component))
    told = {name: said["params"][name] for name in sorted(local_names(type(component.params)))}
    if hub := said["params"].get("hub"):
        told["hub"] = hub
    named = ", ".join(f"{name} {value}" for name, value in told.items() if value)
    return Made(
        **said,
        digest=component.digest(),
        distribution=catalogue.origin(kind, component.name),
        licence=component.card.licence,
        outside=f"{named}: under a licence of its own, which also holds for what the state has "
        "taken from it; the files themselves are not included"
        if named
        else "",
    )


def _write(target: Path, store: Store, key: str, who: str) -> None:
    arrays = store.get(key).arrays
    if names := sorted(_KEPT & arrays.keys()):
        raise SpecError(
            [
                f"{who}: expected a state of weights, got one that keeps {names[0]} of the data "
                "set; export without --weights"
            ]
        )
    save_file(arrays, target)
    if holds_images(target):
        text = "expected a state of weights, got one with images; export without --weights"
        raise SpecError([f"{who}: {text}"])


def _text(card: WeightsCard) -> str:
    return json.dumps(card.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"


def _refused(expected: str, got: str) -> StoreError:
    return StoreError(f"export --weights: expected {expected}, got {got}")


def _wrong(expected: str, got: str) -> StoreError:
    return StoreError(f"weights: expected {expected}, got {got}; export the bundle again")

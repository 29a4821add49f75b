"""Verifies a bundle: is it whole and intact, and do its readings give its numbers?"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from fpbench.api import MissingResource, SpecError, StoreError
from fpbench.execute.request import Request, read_request
from fpbench.plan import Plan
from fpbench.publish import redact
from fpbench.publish.archive import Bundle
from fpbench.publish.bundle import drawn, photographed
from fpbench.publish.checks import Record, foreign, incomplete, place_of, read_records
from fpbench.publish.numbers import compare
from fpbench.publish.strips import INDEX, photographs_in, problems_of
from fpbench.publish.suites import SuiteJson, read_suite_json, source_header, without_cards
from fpbench.publish.weights import CARD, NOTICE, holds_images, problems_of_weights
from fpbench.registry import Catalogue, load
from fpbench.report.build import build_page
from fpbench.store import Store

RESCORED = "re-scored"
"""All numbers were made again from the bundle's readings, and are the same."""
SELF_REPORTED = "self-reported"
"""The bundle is whole, but its numbers could not be made again here."""
REFUSED = "refused"
"""Something is wrong."""
NO_READINGS = "the bundle holds no readings that numbers could be made of"


@dataclass
class Verification:
    """What was found out about a bundle.

    Attributes:
        digest: of its manifest.
        suite: name of the suite.
        submitter: who made it.
        records: how many it holds.
        numbers: how many of them were made again.
        problems: what is wrong; any of them refuses the bundle.
        reasons: why numbers could not be made again.
        notes: what a person should look at.
    """

    digest: str
    suite: str
    submitter: str
    records: int = 0
    numbers: int = 0
    problems: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """`RESCORED`, `SELF_REPORTED` or `REFUSED`."""
        if self.problems:
            return REFUSED
        return SELF_REPORTED if self.reasons else RESCORED

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"status": self.status, **vars(self)}


def verify(bundle: Bundle, plugins: tuple[str, ...] = (), *, rescore: bool = True) -> Verification:
    """Check the content of a bundle whose files are intact.

    Args:
        bundle: opened by `open_bundle`, which checked digests.
        plugins: further plugin modules.
        rescore: make its numbers again; else it is self-reported at best.
    """
    manifest, folder = bundle.manifest, bundle.folder
    found = Verification(manifest.digest, manifest.suite.name, manifest.submitter)
    read = read_records(folder / "records.jsonl")
    found.records, found.problems = len(read.records), read.problems
    try:
        suite = read_suite_json(folder / "suite.json")
        request = bundle_request(folder, plugins)
        said = source_header(folder / redact.SUITE_FILE, request.assignments)
    except (StoreError, SpecError) as error:
        found.problems.append(str(error))
        return found
    found.problems += _other_header(said, suite)
    found.problems += foreign(read.records, suite, manifest.suite)
    found.problems += incomplete(read.records, suite)
    forged = None if manifest.real else photographed(read.records)
    found.problems += _samples(folder, suite, forged)
    if not manifest.real and not drawn(suite) and (folder / "samples").is_dir():
        found.problems.append(
            "samples: expected no strips, since the images of the data set are photographs, got "
            "some; export the run again, with --keep-real if no real person is on them"
        )
    found.problems += _images_in(folder / "store")
    found.problems += problems_of_weights(folder, [m["label"] for m in suite["methods"]])
    found.notes += _notes(bundle, read.unknown)
    if not rescore:
        found.reasons.append("its numbers were not made again, as was asked for")
    elif not manifest.readings:
        found.reasons.append(NO_READINGS)
    elif read.older:
        versions = " and ".join(map(str, sorted(read.older)))
        found.reasons.append(
            f"its records are of schema version {versions}, of an older fpbench; run again with "
            "this one to have them made again"
        )
    else:
        _rescore(found, request, suite, read.records)
    if not found.problems:
        found.problems += _undrawable(folder)
    return found


def _other_header(said: dict[str, Any], suite: SuiteJson) -> Iterator[str]:
    own = {name: suite["suite"].get(name) for name in said}
    if own != said:
        yield f"suite.toml: expected the suite {own} of suite.json, got {said}; export it again"


def _undrawable(folder: Path) -> Iterator[str]:
    """Why no page can be drawn of a bundle; others' pages must not break with it."""
    with tempfile.TemporaryDirectory(prefix="fpbench-page-") as place:
        try:
            build_page(folder, Path(place) / "page")
        except Exception as error:  # noqa: BLE001 - whatever it is, the bundle made it
            text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            yield f"page: expected a bundle that a page can be drawn of, got {text}; export again"


def _rescore(
    found: Verification,
    request: Request,
    suite: SuiteJson,
    records: list[Record],
) -> None:
    found.reasons += _strangers(suite, load(request.plugins))
    if found.reasons:
        return
    try:
        plan, _ = request.plan()
    except (SpecError, MissingResource, UnicodeError) as error:
        found.problems.append(
            f"suite.toml: expected a suite that can be planned here, got: {error}. Export it again"
        )
        return
    away = _away(records)
    found.reasons += _installed(plan, away)
    found.problems += _unnamed(plan, away)
    if differing := _differing(plan, suite, away):
        found.problems.append(
            "suite.json: expected what suite.toml and request.json come to, got another "
            f"{', '.join(differing)}; it was edited. Export the run again"
        )
        return
    store = Store(Path(request.store))
    try:
        compared = compare(plan, store, records)
    except StoreError as error:
        found.problems.append(str(error))
        return
    found.numbers = compared.numbers
    found.problems += compared.problems
    found.reasons += compared.reasons
    if compared.numbers:
        found.notes.append(
            "seconds, memory and training curves are the submitter's own: no reading tells them"
        )


Away = dict[str, set[str]]
"""Methods and attacks that could not be loaded where the run was made: kind -> labels."""


def _away(records: list[Record]) -> Away:
    places = [place_of(record) for record in records if not record["cell"]]
    return {
        "methods": {method for method, _, _ in places if method},
        "attacks": {point for method, _, point in places if not method},
    }


def _here(plan: Plan) -> Away:
    """Methods and attacks of the suite that are installed here."""
    resolved = plan.suite.resolved()
    return {kind: {part["label"] for part in resolved[kind]} for kind in ("methods", "attacks")}


def _installed(plan: Plan, away: Away) -> Iterator[str]:
    """What is called unavailable and could be run here: its numbers are missing, not impossible."""
    for kind, labels in _here(plan).items():
        for label in sorted(labels & away[kind]):
            yield (
                f"{kind.removesuffix('s')} {label}: the bundle calls it unavailable, and it is "
                "installed here; run the suite again where its plugin is installed"
            )


def _unnamed(plan: Plan, away: Away) -> Iterator[str]:
    """What is called unavailable, and which the suite does not ask for."""
    here = _here(plan)
    for item in plan.suite.unavailable:
        here[item.kind].add(item.label)
    for kind, labels in away.items():
        for label in sorted(labels - here[kind]):
            yield (
                f"records: expected {kind} of the suite, got {label!r}, which suite.toml does not "
                "name, as unavailable. Export the run again"
            )


def _images_in(store: Path) -> Iterator[str]:
    """Artefacts that hold images, of which no number is made; the heads of files tell."""
    for file in sorted(store.rglob("arrays.safetensors")):
        artefact = f"artefact {file.parent.parent.name[:16]}…"
        try:
            images = holds_images(file)
        except SafetensorError as error:
            yield f"store: expected arrays in {artefact}, got {error}; export again"
            continue
        if images:
            yield f"store: expected no images in {artefact}, got some; export again"


def _differing(plan: Plan, suite: SuiteJson, away: Away) -> list[str]:
    """Tables of a suite that are not what its source says."""
    resolved = json.loads(json.dumps(plan.suite.resolved()))
    for kind, labels in away.items():
        resolved[kind] = [part for part in resolved[kind] if part["label"] not in labels]
    if away["attacks"]:
        resolved["crosses"] = [
            c for c in resolved["crosses"] if not away["attacks"] & {*c.values()}
        ]
    expected, got = without_cards(redact.suite(resolved)), without_cards(suite)
    return sorted(name for name in expected | got if expected.get(name) != got.get(name))


def bundle_request(folder: Path, plugins: tuple[str, ...]) -> Request:
    """What made the run, with nothing in it that leads out of the bundle.

    Raises:
        SpecError: it cannot be read, or does not say what images were used.
    """
    request = read_request(folder, plugins, folder / "store")
    parts = {"path", "digest", "reason"}
    if request.data is None or any(set(known) != parts for known in request.backbones.values()):
        raise SpecError(["request.json: expected the digests of images and networks, got none"])
    return replace(request, suite=str(folder / redact.SUITE_FILE))


def _strangers(suite: SuiteJson, catalogue: Catalogue) -> Iterator[str]:
    """Components of the suite that are not installed here, or in another version."""
    parts = [
        ("datasets", suite["dataset"]),
        ("hosts", suite["host"]),
        *(("methods", method) for method in suite["methods"]),
        *(("attacks", attack) for attack in suite["attacks"]),
    ]
    for kind, part in parts:
        cls, who = catalogue.get(kind, part["name"]), f"{kind.removesuffix('s')} {part['name']}"
        broken = catalogue.broken(part["name"])
        if dispute := catalogue.dispute(kind, part["name"]):
            yield dispute
        elif cls is None and broken is not None:
            yield f"{who}: its plugin could not be loaded: {broken.error}"
        elif cls is None:
            yield f"{who} is not installed here; install its plugin, or name it with -p"
        elif cls.version != part["version"]:
            yield (
                f"{who}: expected version {cls.version}, which is installed here, got "
                f"{part['version']}"
            )


def _samples(folder: Path, suite: SuiteJson, forged: set[str] | None) -> list[str]:
    """What is wrong with the strips; `forged` are points whose strips may not be shown."""
    strips = folder / "samples"
    if not strips.is_dir():
        return []
    try:
        index = json.loads((strips / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return [f"samples: expected an index {INDEX}, got none that can be read ({error})"]
    labels = [method["label"] for method in suite["methods"]]
    problems = problems_of(index, strips, labels)
    if not problems and forged is not None:
        problems = photographs_in(index, forged)
    return problems


def _notes(bundle: Bundle, unknown: set[str]) -> Iterator[str]:
    if bundle.manifest.real:
        yield "images of the data set are shown: make sure that no real person is on them"
    if CARD in bundle.manifest.files:
        yield f"trained weights are in it: {NOTICE}"
    if unknown:
        yield f"fields that this version does not know were kept: {', '.join(sorted(unknown))}"

"""Verifies a bundle: is it whole and intact, and do its readings give its numbers?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fpbench.api import MissingResource, SpecError, StoreError
from fpbench.execute.request import Request, read_request
from fpbench.plan import Plan
from fpbench.publish import redact
from fpbench.publish.archive import Bundle
from fpbench.publish.checks import Record, foreign, incomplete, place_of, read_records
from fpbench.publish.numbers import compare
from fpbench.publish.strips import INDEX, problems_of
from fpbench.publish.suites import SuiteJson, read_suite_json, without_cards
from fpbench.registry import Catalogue, load
from fpbench.store import Store

RESCORED = "re-scored"
"""All numbers were made again from the bundle's readings, and are the same."""
SELF_REPORTED = "self-reported"
"""The bundle is whole, but its numbers could not be made again here."""
REFUSED = "refused"
"""Something is wrong."""


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
    except StoreError as error:
        found.problems.append(str(error))
        return found
    try:
        request = _request(folder, plugins)
    except SpecError as error:
        found.problems.append(str(error))
        return found
    found.problems += foreign(read.records, suite, manifest.suite)
    found.problems += incomplete(read.records, suite)
    found.problems += _samples(folder, suite)
    found.notes += _notes(bundle, read.unknown)
    if not rescore:
        found.reasons.append("its numbers were not made again, as was asked for")
    elif not manifest.readings:
        found.reasons.append("the bundle holds no readings that numbers could be made of")
    else:
        _rescore(found, request, suite, read.records)
    return found


def _rescore(
    found: Verification, request: Request, suite: SuiteJson, records: list[Record]
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
    if differing := _differing(plan, suite, records):
        found.problems.append(
            "suite.json: expected what suite.toml and request.json come to, got another "
            f"{', '.join(differing)}; it was edited. Export the run again"
        )
        return
    compared = compare(plan, Store(Path(request.store)), records)
    found.numbers = compared.numbers
    found.problems += compared.problems
    found.reasons += compared.reasons
    if compared.numbers:
        found.notes.append(
            "seconds, memory and training curves are the submitter's own: no reading tells them"
        )


def _differing(plan: Plan, suite: SuiteJson, records: list[Record]) -> list[str]:
    """Tables of a suite that are not what its source says."""
    resolved = json.loads(json.dumps(plan.suite.resolved()))
    # What could not be loaded there may well be installed here.
    unavailable = {place_of(r)[0] or place_of(r)[2] for r in records if not r["cell"]}
    for kind in ("methods", "attacks"):
        resolved[kind] = [part for part in resolved[kind] if part["label"] not in unavailable]
    expected, got = without_cards(redact.suite(resolved)), without_cards(suite)
    return sorted(name for name in expected | got if expected.get(name) != got.get(name))


def _request(folder: Path, plugins: tuple[str, ...]) -> Request:
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
        if cls is None and broken is not None:
            yield f"{who}: its plugin could not be loaded: {broken.error}"
        elif cls is None:
            yield f"{who} is not installed here; install its plugin, or name it with -p"
        elif cls.version != part["version"]:
            yield (
                f"{who}: expected version {cls.version}, which is installed here, got "
                f"{part['version']}"
            )


def _samples(folder: Path, suite: SuiteJson) -> list[str]:
    strips = folder / "samples"
    if not strips.is_dir():
        return []
    try:
        index = json.loads((strips / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [f"samples: expected an index {INDEX}, got none that can be read ({error})"]
    labels = [method["label"] for method in suite["methods"]]
    return problems_of(index, strips, labels)


def _notes(bundle: Bundle, unknown: set[str]) -> Iterator[str]:
    if bundle.manifest.real:
        yield "images of the data set are shown: make sure that no real person is on them"
    if unknown:
        yield f"fields that this version does not know were kept: {', '.join(sorted(unknown))}"

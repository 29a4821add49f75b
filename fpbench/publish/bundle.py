"""Writes a bundle: what others need of a run to check it, and nothing that must not be published.

    manifest.json       every other file with its digest; see `fpbench.publish.manifest`
    records.jsonl       the current records, without local paths
    suite.toml          the suite's own text
    suite.json          what it comes to
    request.json        what was asked beside: selectors, seeds, digests of data and networks
    environment.json    what the records were made with
    samples/            strips, without images of the data set; none where it is photographs
    store/              what numbers are made of again: no images, and of trainings no weights
    weights/            trained states, where they are asked for; see `fpbench.publish.weights`

Equal runs give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fpbench.api import StoreError, canonical_json
from fpbench.execute.request import Request
from fpbench.plan import Cell, Plan
from fpbench.publish import redact
from fpbench.publish.manifest import (
    MANIFEST,
    WEIGHTS,
    Manifest,
    check_names,
    make_manifest,
    manifest_text,
)
from fpbench.publish.strips import INDEX, index_files, read_index
from fpbench.publish.weights import take_weights
from fpbench.report.inputs import Inputs, read_inputs
from fpbench.spec import suite_text
from fpbench.stages.measuring import Measurer, Needed
from fpbench.store import Store
from fpbench.store.objects import disk_errors
from fpbench.store.sounds import sound_beside

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file knows

Content = bytes | Path


@dataclass(frozen=True)
class Wish:
    """What a bundle shall say and hold.

    Attributes:
        submitter: how its maker wants to be called.
        note: a line for those who read the board.
        keep_real: show images of the data set, and what is drawn where it is photographs.
        readings: put in what numbers are made of again.
        weights: put in trained states, which hold secrets of their owner.
        methods: labels of those whose states are put in; empty = all that can be.
    """

    submitter: str = ""
    note: str = ""
    keep_real: bool = False
    readings: bool = True
    weights: bool = False
    methods: tuple[str, ...] = ()


def export(run: Path, request: Request, output: Path, wish: Wish) -> Manifest:
    """Write the bundle of a run; it is there whole or not at all.

    Args:
        run: the run's folder.
        request: what made it, see `read_request`; names the store.
        output: the zip file; replaced if it exists.
        wish: what it shall say and hold.

    Raises:
        StoreError: the run has no records, or the store lacks what they were made of.
        SpecError: trained states are asked for that cannot be given.
    """
    inputs = read_inputs(run)
    if not inputs.records or not inputs.suite:
        raise StoreError(
            f"export: expected a run with records and a suite.json, got none in {run}; name the "
            "folder of a finished run, like runs/quickstart"
        )
    asked = wish.readings or wish.weights or request.data is None
    plan, catalogue = request.plan() if asked else (None, None)
    facts = plan.facts if plan is not None else request.data
    files = _texts(run, inputs, replace(request, data=facts)) | _strips(inputs, wish)
    with tempfile.TemporaryDirectory(prefix="fpbench-export-") as place:
        if plan is not None and wish.readings:
            folder = Path(place) / "store"
            _take(plan, inputs, Store(Path(request.store)), Store(folder, lasting=False))
            files |= {
                f"store/{path.relative_to(folder).as_posix()}": path
                for path in folder.rglob("*")
                if path.is_file()
            }
        if plan is not None and catalogue is not None and wish.weights:
            store = Store(Path(request.store))
            files |= take_weights(plan, catalogue, store, wish.methods, Path(place))
        return _write(files, inputs, output, wish)


# -- what stands in it -------------------------------------------------------------------------


def _texts(run: Path, inputs: Inputs, request: Request) -> dict[str, Content]:
    records = [redact.record(record) for record in inputs.records]
    kept = run / redact.SUITE_FILE
    text = kept.read_text("utf-8") if kept.is_file() else suite_text(request.suite, request.plugins)
    text = redact.without_commands(text, inputs.suite)
    environments = {canonical_json(r["environment"]) for r in records if r.get("environment")}
    return {
        "records.jsonl": "".join(canonical_json(record) + "\n" for record in records).encode(),
        "suite.json": _json(redact.suite(inputs.suite)),
        "suite.toml": redact.source(text).encode(),
        "request.json": (redact.request(request).to_json() + "\n").encode(),
        "environment.json": _json([json.loads(each) for each in sorted(environments)]),
    }


def _strips(inputs: Inputs, wish: Wish) -> dict[str, Content]:
    folder = inputs.folder / "samples"
    if not (folder / INDEX).is_file():
        return {}
    index = read_index(folder / INDEX)
    if not wish.keep_real and not drawn(inputs.suite):
        return {}
    if not wish.keep_real:
        index = redact.samples(index, photographed(inputs.records))
    strips = [folder / name for name in index_files(index)]
    files = [*strips, *(s for strip in strips if (s := sound_beside(strip)).is_file())]
    shown = {f"samples/{file.name}": file for file in files}
    check_names(list(shown))
    return {f"samples/{INDEX}": _json(index), **shown}


def drawn(suite: Mapping[str, Any]) -> bool:
    """Whether what generators make of a suite's images may be shown: not of photographs.

    Runs of former versions do not say it, and could only show their strips.
    """
    return bool(suite["dataset"].get("drawn", True))


def photographed(records: Iterable[Mapping[str, Any]]) -> set[str]:
    """Labels of the points whose strips start from images of the data set."""
    points = [
        record["point"] for record in records if isinstance(record["point"].get("model"), dict)
    ]
    return {point["label"] for point in points if point["model"].get("kind") == "forgery"}


def _take(plan: Plan, inputs: Inputs, source: Store, target: Store) -> None:
    """Copy what the numbers in the records are made of into another store."""
    measurer = Measurer(plan, source)
    cells = _measured(plan, inputs)
    lacking = [cell for cell in cells if measurer.missing(cell)]
    if lacking or not cells:
        raise StoreError(
            f"export: expected in {source.root} the readings of all {len(cells)} measured cells, "
            f"got none for {len(lacking)}, made by the source that is installed now. Name the "
            "run's --store, run the suite again, or export the numbers alone with --no-readings",
            path=str(source.root),
        )
    needed = [measurer.needed(cell) for cell in cells]
    for key, columns in _columns(needed).items():
        _copy_columns(source, target, key, columns)
    for key in dict.fromkeys(key for each in needed for key in each.whole):
        artefact = source.get(key)
        target.put(key, artefact.arrays, artefact.meta)
    for key in dict.fromkeys(key for each in needed for key in each.facts):
        target.put(key, {}, source.meta(key))


def _measured(plan: Plan, inputs: Inputs) -> list[Cell]:
    """The cells that have numbers in the records."""
    there = {
        (r["method"].get("label"), r["training_seed"], r["point"]["label"])
        for r in inputs.records
        if r["metric"]
    }
    return [
        cell
        for cell in plan.cells
        if cell.open and (cell.fit.method.label, cell.fit.seed, cell.point.label) in there
    ]


def _columns(needed: Iterable[Needed]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in needed:
        for key, columns in each.columns.items():
            found.setdefault(key, set()).update(columns)
    return found


def _copy_columns(source: Store, target: Store, key: str, columns: set[str]) -> None:
    shards: dict[str, list[str]] = {}
    for column, shard in source.columns(key).items():
        if column in columns:
            shards.setdefault(shard, []).append(column)
    for shard, own in shards.items():
        artefact = source.shard(key, shard)
        arrays = {
            name: array for name, array in artefact.arrays.items() if name.partition("/")[0] in own
        }
        meta = {name: value for name, value in artefact.meta.items() if name != "columns"}
        target.append(key, shard, arrays, own, meta)


# -- the file ----------------------------------------------------------------------------------


def _write(files: Mapping[str, Content], inputs: Inputs, output: Path, wish: Wish) -> Manifest:
    check_names([MANIFEST, *files])
    header = {name: inputs.suite["suite"][name] for name in ("name", "version", "seed")}
    manifest = make_manifest(
        {
            "fpbench": version("fpbench"),
            "suite": header,
            "submitter": wish.submitter,
            "note": wish.note,
            "readings": wish.readings,
            "real": wish.keep_real,
            "files": {name: _facts(files[name]) for name in sorted(files)},
        }
    )
    whole = {**files, MANIFEST: manifest_text(manifest).encode()}
    fresh = output.with_name(f".{output.name}.new")
    with disk_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            with zipfile.ZipFile(fresh, "w") as archive:
                for name in sorted(whole):
                    _add(archive, name, whole[name])
            fresh.replace(output)
        finally:
            fresh.unlink(missing_ok=True)
    return manifest


def _add(archive: zipfile.ZipFile, name: str, content: Content) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    weights = name.startswith(f"{WEIGHTS}/")  # which hardly get smaller
    entry.compress_type = zipfile.ZIP_STORED if weights else zipfile.ZIP_DEFLATED
    entry.create_system = 3  # the same bytes on every system
    entry.external_attr = 0o100644 << 16
    data = content.read_bytes() if isinstance(content, Path) else content
    archive.writestr(entry, data)


def _facts(content: Content) -> dict[str, Any]:
    if isinstance(content, bytes):
        return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    with content.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": sha256, "bytes": content.stat().st_size}


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()

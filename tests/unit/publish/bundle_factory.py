"""Bundles made by hand: packing a folder with a manifest that tells of its files as they are."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from fpbench.publish.manifest import MANIFEST, make_manifest, manifest_text, read_manifest

FACTS: dict[str, Any] = {
    "fpbench": "0.1.0",
    "suite": {"name": "fakes", "version": 1, "seed": 0},
    "submitter": "me",
    "note": "",
    "readings": False,
    "real": False,
}


def small(folder: Path) -> Path:
    """A folder with the least files that a bundle has."""
    folder.mkdir(parents=True)
    for name in ("records.jsonl", "suite.json", "suite.toml", "request.json"):
        (folder / name).write_text(f"the content of {name}\n")
    return seal(folder)


def seal(folder: Path, **changed: Any) -> Path:
    """Write the manifest of what lies in a folder, as somebody who has edited it would."""
    facts = dict(FACTS)
    if (folder / MANIFEST).is_file():
        known = read_manifest((folder / MANIFEST).read_bytes()).model_dump()
        facts = {name: known[name] for name in FACTS}
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST:
            data = path.read_bytes()
            files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    manifest = make_manifest({**facts, "files": files, **changed})
    (folder / MANIFEST).write_text(manifest_text(manifest))
    return folder


def packed(folder: Path, target: Path) -> Path:
    """The zip file of a folder."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
    return target


def lines(path: Path) -> list[dict[str, Any]]:
    """The records in a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]

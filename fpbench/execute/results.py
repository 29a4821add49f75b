"""What a run leaves for people: records and sample strips, made again only where they change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from fpbench.api import Outcome, canonical_json
from fpbench.execute.records import all_records, outcome_record, unavailable_records
from fpbench.execute.samples import write_samples
from fpbench.plan import Plan
from fpbench.stages.measuring import Measurer
from fpbench.store import RecordLog, Store
from fpbench.store.objects import write_text
from fpbench.store.records import content

_STAMP = ".results"
_PACKAGE = Path(__file__).parent.parent
_SOURCES = ("api", "execute", "plan", "spec", "stages", "store")


def write_results(
    plan: Plan,
    store: Store,
    folder: Path,
    outcomes: Mapping[str, tuple[Outcome, str]],
    command: str,
) -> None:
    """Write records and sample strips of a run, unless those that are there were made of the same.

    Args:
        plan: the plan.
        store: its store.
        folder: of the run.
        outcomes: cell key -> outcome and reason, for cells that were not measured.
        command: how to repeat the run.
    """
    made_of, stamp = _made_of(plan, outcomes, command), folder / _STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == _text(made_of, folder):
        return
    write_samples(plan, Measurer(plan, store), folder / "samples")
    RecordLog(folder / "records.jsonl").update(all_records(plan, store, outcomes, command))
    write_text(stamp, _text(made_of, folder))


def _made_of(plan: Plan, outcomes: Mapping[str, tuple[Outcome, str]], command: str) -> str:
    """Digest of the plan, the outcomes of its cells, and the source that writes of them."""
    whole = hashlib.sha256(canonical_json(plan.suite.resolved()).encode())
    for record in unavailable_records(plan, command):
        whole.update(canonical_json(content(record)).encode())
    for cell in plan.cells:
        whole.update(cell.key.encode())
        if cell.key in outcomes:
            record = outcome_record(plan, cell, *outcomes[cell.key], command)
            whole.update(canonical_json(content(record)).encode())
    for name in _SOURCES:
        for path in sorted((_PACKAGE / name).rglob("*.py")):
            whole.update(path.read_bytes())
    return whole.hexdigest()


def _text(made_of: str, folder: Path) -> str:
    """The digest, and the size and time of each file that was made."""
    return "\n".join([made_of, *_files(folder)])


def _files(folder: Path) -> Iterator[str]:
    samples = folder / "samples"
    paths = sorted(samples.iterdir()) if samples.is_dir() else []
    for path in [folder / "records.jsonl", *paths]:
        if path.is_file():
            about = path.stat()
            yield f"{path.name} {about.st_size} {about.st_mtime_ns}"

"""Takes over what other source of the same components has made, where the user vouches for it.

Keys change with the source of a component, since nobody can tell what a change does to numbers. Who
knows that one does nothing says so; then what lies under the keys of the former source is put under
those of today, with a mark that goes into every record made of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fpbench.api import SpecError, digest
from fpbench.builtin.chain.attack import Chain
from fpbench.execute.reach import CELL, artefacts
from fpbench.execute.request import Request
from fpbench.plan import Plan, graph_of
from fpbench.plan.identity import source_digest, sources_as
from fpbench.plan.keys import ACCEPTED
from fpbench.plan.stages import fit_label
from fpbench.store import Store
from fpbench.store.objects import write_text

_FILE = "sources.json"


def sources_of(plan: Plan) -> dict[str, str]:
    """Module -> digest of its source, of every component that keys are made of."""
    suite = plan.suite
    parts: list[Any] = [suite.dataset, suite.host, *plan.metrics]
    parts += [] if plan.of_images else [plan.modality]
    parts += [method.component for method in suite.methods]
    for attack in suite.attacks:
        parts += [attack.component, *attack.candidates]
    parts += [inner for part in parts if isinstance(part, Chain) for inner, _ in part.parts]
    modules = sorted({type(part).__module__ for part in parts})
    return {module: source_digest(module) for module in modules}


def keep_sources(plan: Plan, folder: Path) -> None:
    """Note with which source a run was made, behind those that it was made with before."""
    known, now = _kept(folder), sources_of(plan)
    if now not in known[-1:]:
        before = [each for each in known if each != now]
        write_text(folder / _FILE, json.dumps([*before, now], indent=1, sort_keys=True) + "\n")


def unite_sources(folders: Iterable[Path], target: Path) -> None:
    """Note for a run what several runs were made with."""
    known = [each for folder in folders for each in _kept(folder)]
    distinct = [each for number, each in enumerate(known) if each not in known[:number]]
    write_text(target / _FILE, json.dumps(distinct, indent=1, sort_keys=True) + "\n")


def accept_source(request: Request, plan: Plan, store: Store, folder: Path) -> set[str]:
    """Take over what the run of a folder has made with other source, the latest first.

    Args:
        request: what is run.
        plan: of it.
        store: where it lies.
        folder: of the run.

    Returns:
        The modules whose source differs.

    Raises:
        SpecError: no run was made there.
        StoreError: what is to be taken over is damaged.
    """
    known, now = _kept(folder), sources_of(plan)
    if not known:
        raise SpecError(
            [
                f"--accept-source: expected a run that was made before in {folder}, got none whose "
                "sources are known; run without it"
            ]
        )
    keys, columns, differ = _keys(plan), dict(_columns(plan)), set[str]()
    for sources in reversed([each for each in known if each != now]):
        differ |= {name for name in now if sources.get(name, now[name]) != now[name]}
        with sources_as(sources):
            former, _ = request.plan()
            before = _keys(former)
            renamed = {old: columns.get(name, old) for name, old in _columns(former)}
        for name, key in keys.items():
            old = before.get(name, key)
            if old != key and store.started(old):
                _take_over(store, old, key, renamed)
    return differ


def _kept(folder: Path) -> list[dict[str, str]]:
    try:
        found = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return [{str(k): str(v) for k, v in each.items()} for each in found]
    except (OSError, ValueError, AttributeError, TypeError):
        return []


def _keys(plan: Plan) -> dict[tuple[str, str], str]:
    """Kind and label of an artefact, whatever it was made with -> its key; numbers left out."""
    found = artefacts(plan, graph_of(plan)).values()
    return {(each.kind, each.label): each.key for each in found if each.kind != CELL}


def _columns(plan: Plan) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Training, image point and network of what is read of images, and its column."""
    for fit in plan.fits:
        for model in plan.open_points(fit):
            for want in plan.wants(fit, model):
                image = want.image.label if want.image is not None else ""
                network = want.backbone.name if want.backbone is not None else ""
                yield (fit_label(fit), image, network), plan.column(fit, want)


def _take_over(store: Store, old: str, key: str, renamed: Mapping[str, str]) -> None:
    """Put what lies under a key under another one, and its columns under their new names."""
    if store.has(old):
        if not store.has(key):
            found = store.get(old)
            store.put(key, found.arrays, {**found.meta, ACCEPTED: old})
        return
    there = store.columns(key)
    for shard in sorted(set(store.columns(old).values())):
        found = store.shard(old, shard)
        columns = found.meta["columns"]
        names = {name: renamed.get(name, name) for name in columns}
        if there.keys() & names.values():
            continue
        arrays = {}
        for path, array in found.arrays.items():
            column, _, rest = path.partition("/")
            arrays["/".join([names.get(column, column), *([rest] if rest else [])])] = array
        new = [names[name] for name in columns]
        name = shard if new == columns else digest(sorted(new))[:32]
        store.append(key, name, arrays, new, {**found.meta, ACCEPTED: old})

"""Why there is a number: the chain of inputs behind a record, a cell or an artefact."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from fpbench.api import SpecError, StoreError, digest
from fpbench.execute.reach import CELL, NULL, READING, Artefact, artefacts
from fpbench.execute.runs import OpenRun
from fpbench.plan import AttackPoint, Kind, Stage
from fpbench.plan.pending import is_done
from fpbench.plan.stages import fit_label
from fpbench.spec.model import component_json
from fpbench.stages.measuring import Measurer
from fpbench.store import RecordLog

DATA = "data set"
LEAST_DIGITS = 8
_SHOWN_DIGITS = 12
_ALIKE = 3  # more links that differ by a number alone are one line
_OF_DATA = frozenset({Kind.HOST, Kind.REFERENCE, Kind.BACKBONE, Kind.TRAINING, Kind.NEGATIVES})
_OF_METHOD = frozenset(
    {Kind.TRAINING, Kind.CHOICE, Kind.ISSUE, Kind.TUNING, Kind.COPY, Kind.NEGATIVES, Kind.SECRECY}
)


@dataclass(frozen=True)
class Link:
    """One thing that a number stands on.

    Attributes:
        kind: "record", "cell", a kind of stage or of artefact, or "data set".
        label: for people.
        key: of it.
        stored: whether all of it is in the store; None where it is kept elsewhere.
        by: the plugins that make it: what they are, name, version, parameters, distribution.
        inputs: keys of what it is made of.
        group: what it is told of together with.
    """

    kind: str
    label: str
    key: str
    stored: bool | None
    by: tuple[Mapping[str, Any], ...] = ()
    inputs: tuple[str, ...] = ()
    group: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def chain_of(run: OpenRun, key: str) -> list[Link]:
    """Everything behind a key: the asked first, the data set last.

    Args:
        run: the run.
        key: of a record, a cell, a stage or an artefact; its first eight digits are enough.

    Raises:
        SpecError: it is no key, nothing has it, or several have; says what to do.
    """
    why = _Why(run)
    found, ahead = dict[str, Link](), deque([why.find(key)])
    while ahead:
        name = ahead.popleft()
        if name not in found:
            found[name] = why.link(name)
            ahead.extend(found[name].inputs)
    return sorted(found.values(), key=lambda link: link.kind == DATA)


def lines_of(chain: Iterable[Link]) -> Iterator[str]:
    """A chain as text; what differs by a number alone is one line."""
    for _, alike in groupby(chain, key=lambda link: (link.kind, link.group or link.key)):
        links = list(alike)
        if len(links) <= _ALIKE:
            for link in links:
                yield f"{link.kind:<16}{link.key[:_SHOWN_DIGITS]}  {link.label}  [{_said(link)}]"
        else:
            stored = sum(link.stored is True for link in links)
            keys = f"{links[0].key[:_SHOWN_DIGITS]} …"
            yield f"{links[0].kind:<16}{keys}  {links[0].group}  [{stored} of {len(links)} stored]"
        for part in links[0].by:
            values = ", ".join(f"{name}={value}" for name, value in part["params"].items())
            origin = f" from {part['from']}" if part["from"] else ""
            yield f"    {part['part']} {part['name']} {part['version']}{origin}  {values}".rstrip()


def _said(link: Link) -> str:
    return {True: "stored", False: "not stored", None: "not in the store"}[link.stored]


class _Why:
    def __init__(self, run: OpenRun) -> None:
        self._run = run
        self._plan = run.plan
        self._artefacts = artefacts(run.plan, run.graph)
        self._cells = {cell.key: cell for cell in run.plan.cells}
        self._measurer = Measurer(run.plan, run.store)
        self._data_key = digest(run.plan.data)

    def find(self, text: str) -> str:
        """The one whole key that starts so.

        Raises:
            SpecError: there is none, or more than one.
        """
        digits = text.removesuffix("…").lower()
        if len(digits) < LEAST_DIGITS or set(digits) - set("0123456789abcdef"):
            raise SpecError(
                [
                    f"why {text}: expected {LEAST_DIGITS} or more hex digits of a key; those of "
                    "records are on the page and in records.jsonl"
                ]
            )
        known = {self._data_key, *self._records, *self._cells, *self._artefacts}
        known |= self._run.graph.stages.keys()
        found = sorted(key for key in known if key.startswith(digits))
        if not found:
            raise SpecError(
                [
                    f"why {text}: expected a record, cell, stage or artefact of "
                    f"{self._run.folder}, got a key of none; a plugin's source may have changed "
                    "since, which gives all that follows other keys"
                ]
            )
        if len(found) > 1:
            listed = ", ".join(key[: len(digits) + 4] for key in found)
            raise SpecError(
                [f"why {text}: expected one key, got {len(found)}: {listed}; add digits"]
            )
        return found[0]

    @cached_property
    def _records(self) -> Mapping[str, Mapping[str, Any]]:
        return RecordLog(self._run.folder / "records.jsonl").read()

    def link(self, key: str) -> Link:
        """What has a key."""
        if key == self._data_key:
            about = self._about("datasets", "data set", self._plan.suite.dataset)
            return Link(DATA, self._plan.suite.dataset.name, key, None, (about,))
        if key in self._cells:
            return self._cell(key)
        if key in self._artefacts:
            return self._artefact(self._artefacts[key])
        if key in self._run.graph.stages:
            stage = self._run.graph.stages[key]
            done = is_done(stage, self._plan, self._run.store)
            return Link(str(stage.kind), stage.label, key, done, (), self._inputs(stage))
        return self._record(key)

    def _record(self, key: str) -> Link:
        record = self._records[key]
        about = " ".join(part for part in (record["metric"], record["variant"]) if part)
        value = record["outcome"] if record["value"] is None else f"{record['value']:.6g}"
        who, point = record["method"].get("label", ""), record["point"]["label"]
        label = f"{about or 'outcome'} of {who} under {point}: {value}"
        metrics = [m for m in self._plan.metrics if m.name == record["metric"]]
        by = tuple(self._about("metrics", "metric", metric) for metric in metrics)
        cell = record["cell"]
        if cell and cell not in self._cells:
            raise SpecError(
                [
                    f"why {key[:_SHOWN_DIGITS]}: expected the cell {cell[:_SHOWN_DIGITS]} of this "
                    "record in the plan, got a plan without it; a plugin's source or the suite has "
                    f"changed since: `fpbench retry {self._run.folder}` makes the record anew"
                ]
            )
        return Link("record", label, key, None, by, (cell,) if cell else ())

    def _cell(self, key: str) -> Link:
        cell = self._cells[key]
        label = f"{fit_label(cell.fit)} under {cell.point.label}"
        by = [self._about("methods", "method", cell.fit.method.component)]
        by += [self._attack(part) for part in (cell.point.model, cell.point.image) if part]
        if not cell.open:
            reason = cell.refusal.reason if cell.refusal is not None else cell.fault
            return Link(CELL, f"{label}: {reason}", key, False, tuple(by))
        needed = self._measurer.needed(cell)
        inputs = dict.fromkeys((*needed.columns, *needed.whole, *needed.facts))
        return Link(CELL, label, key, self._run.store.has(key), tuple(by), tuple(inputs))

    def _artefact(self, artefact: Artefact) -> Link:
        stage = self._run.graph.stages[artefact.stage]
        by = self._by(stage) + ((self._attack(artefact.model),) if artefact.model else ())
        under = f" under {artefact.model.label}" if artefact.model is not None else ""
        # What a stage keeps beside its result is made of what that is made of.
        inputs = self._inputs(stage)
        group = f"{stage.group}{under}" if stage.user is not None else ""
        return Link(
            artefact.kind, artefact.label, artefact.key, self._stored(artefact), by, inputs, group
        )

    def _stored(self, artefact: Artefact) -> bool:
        store, plan, fit = self._run.store, self._plan, artefact.fit
        if artefact.kind == "snapshots":
            return store.started(artefact.key)
        if fit is None or artefact.kind not in (READING, NULL):
            return store.has(artefact.key)
        wants = plan.wants(fit, artefact.model)
        if artefact.kind == NULL:
            wants = [want for want in wants if want.backbone is None]
        try:
            return {plan.column(fit, want) for want in wants} <= store.columns(artefact.key).keys()
        except StoreError:
            return False

    def _inputs(self, stage: Stage) -> tuple[str, ...]:
        # Data comes last: it is the end of every chain.
        return stage.inputs + ((self._data_key,) if stage.kind in _OF_DATA else ())

    def _by(self, stage: Stage) -> tuple[Mapping[str, Any], ...]:
        if stage.kind in _OF_METHOD:
            return (self._about("methods", "method", stage.of_fit.method.component),)
        if stage.kind in {Kind.HOST, Kind.HOST_CHOICE}:
            return (self._about("hosts", "host", self._plan.suite.host),)
        if stage.backbone is not None:
            params = stage.backbone.key_part
            known = {"part": "backbone", "name": stage.backbone.name, "version": ""}
            return ({**known, "params": params, "from": ""},)
        return ()

    def _attack(self, point: AttackPoint) -> Mapping[str, Any]:
        about = self._about("attacks", "attack", point.attack.component)
        if point.strength is None:
            return about
        return {**about, "params": {**about["params"], "strength": point.strength}}

    def _about(self, kind: str, part: str, component: Any) -> Mapping[str, Any]:
        origin = self._run.catalogue.origin(kind, component.name)
        return {"part": part, **component_json(component), "from": origin}

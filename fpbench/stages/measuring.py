"""Measures cells from what is stored, and turns them into records. numpy only, no torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fpbench.api import (
    BackboneEvidence,
    CellEvidence,
    Column,
    ContractError,
    Gives,
    NoSpace,
    PassiveMethod,
    Row,
    digest,
)
from fpbench.builtin.metrics.reading import alike
from fpbench.plan import (
    AttackPoint,
    Cell,
    Fit,
    Plan,
    PlannedBackbone,
    Stage,
    Want,
    book_of,
    users_codes,
)
from fpbench.plan.keys import ACCEPTED
from fpbench.plan.stages import cell_label
from fpbench.stages.columns import Columns
from fpbench.stages.origins import cell_origins
from fpbench.stages.process import Visit
from fpbench.stages.resources import environment
from fpbench.stats import CALIBRATING, TESTING
from fpbench.store import Store

if TYPE_CHECKING:
    from fpbench.stages.bench import Bench


def measure(stage: Stage, bench: Bench) -> dict[str, BaseException]:
    """Measure every cell of a training whose readings are there; errors by key of the cell."""
    measurer, failures = Measurer(bench.plan, bench.store), dict[str, BaseException]()
    about = None
    for number, cell in enumerate(stage.cells, start=1):
        try:
            if measurer.measured(cell) or measurer.missing(cell):
                continue
            about = about or environment(bench.store.meta(cell.fit.key)["device"], bench.threads)
            with Visit():
                measurer.measure(cell, about)
        except NoSpace:
            raise
        except Exception as error:  # noqa: BLE001 - one cell's fault must not stop others
            failures[cell.key] = error
        bench.progress(number, len(stage.cells), cell_label(cell))
    return failures


@dataclass(frozen=True)
class Needed:
    """The artefacts that the numbers of a cell are made of; nothing else is read for them.

    Attributes:
        columns: key of a reading or null -> those of its columns that are read.
        whole: keys of artefacts that are read with their arrays.
        facts: keys of artefacts whose plain values alone are read; most are trainings, whose
            arrays are weights.
    """

    columns: Mapping[str, frozenset[str]]
    whole: tuple[str, ...]
    facts: tuple[str, ...]


class Measurer:
    """Measures the cells of one plan.

    Args:
        plan: what was run.
        store: where the readings lie.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan = plan
        self._store = store
        self._columns = Columns(store)
        self._fact_of = lru_cache(maxsize=100_000)(store.meta)
        self._codes = lru_cache(maxsize=64)(self._drawn)
        self._issued = lru_cache(maxsize=64)(self._issue_keys)
        self._readings = lru_cache(maxsize=8)(self._reading_keys)
        self._real: dict[str, BackboneEvidence] = {}

    def needed(self, cell: Cell) -> Needed:
        """What `rows` and `about` read of the store for a cell that is not refused."""
        plan, fit, point = self._plan, cell.fit, cell.point
        wants = [want for want in plan.wants(fit, point.model) if want.image == point.image]
        measured = frozenset(plan.column(fit, want) for want in wants)
        read = frozenset(plan.column(fit, want) for want in wants if want.backbone is None)
        columns = dict.fromkeys(self._readings(fit, point.model), measured)
        columns |= dict.fromkeys(self._nulls(cell), read)
        # Costs and thresholds stand on untouched negatives, whatever the point.
        untouched = frozenset([plan.column(fit, Want())])
        for source in plan.sources(fit, None):
            key = plan.null_key(fit, source, None)
            columns[key] = columns.get(key, untouched) | untouched
        whole = [plan.reference_key]
        if not plan.looked_for(fit) and point.label == "none":
            whole.append(plan.secrecy_key(fit))
        for backbone in plan.ready:
            whole.append(plan.backbone_key(backbone))
            if not backbone.pairs:
                whole.append(plan.host_features_key(backbone))
        facts = [plan.host_key, fit.key, *self._issued(fit), *self._tuning(cell)]
        facts += filter(None, [plan.enrol_key(fit)])
        return Needed(columns, tuple(whole), tuple(facts))

    def missing(self, cell: Cell) -> list[str]:
        """Keys of readings and measures that a cell still lacks, once for each column."""
        needed = self.needed(cell)
        lacking = [
            key
            for key, columns in needed.columns.items()
            for _ in columns - self._columns.of(key).keys()
        ]
        return lacking + [key for key in needed.whole if not self._store.has(key)]

    def measure(self, cell: Cell, environment: Mapping[str, Any]) -> None:
        """Compute all numbers of a cell and store them."""
        self.keep(cell, self.rows(cell), environment)

    def rows(self, cell: Cell) -> list[dict[str, Any]]:
        """All numbers of a cell, as plain data.

        Raises:
            ContractError: the method's readings are the same whatever it is shown, or the attack
                changes no copy at any strength.
        """
        evidence = self.evidence(cell)
        _check_alive(cell, evidence)
        self._check_effect(cell)
        return [
            {"metric": metric.name, **plain(row)}
            for metric in self._plan.metrics
            for row in metric.measure(evidence)
        ]

    def keep(
        self, cell: Cell, rows: Sequence[Mapping[str, Any]], environment: Mapping[str, Any]
    ) -> None:
        """Store the numbers of a cell."""
        meta = {
            "rows": list(rows),
            "environment": dict(environment),
            "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "origins": cell_origins(self._plan, cell),
            **self.about(cell),
        }
        self._store.put(cell.key, {}, meta)

    def about(self, cell: Cell) -> dict[str, Any]:
        """What records say of a cell beside its numbers: the readings, what an attack chose."""
        inputs = digest([*self._readings(cell.fit, cell.point.model), *self._nulls(cell)])
        alike = self._no_effect(cell)
        effect = "none" if alike and all(alike) else ""
        told = {"inputs": inputs, "tuned": self._tuned(cell), "effect": effect}
        return {**told, ACCEPTED: True} if self._accepted(cell) else told

    def _accepted(self, cell: Cell) -> bool:
        """Whether something that a cell is made of was made with other source of a component."""
        needed = self.needed(cell)
        metas: list[Mapping[str, Any]] = [self._fact_of(key) for key in needed.facts]
        metas += [
            self._columns.meta(key, column)
            for key, columns in needed.columns.items()
            for column in columns
        ]
        return any(ACCEPTED in meta for meta in metas)

    def measured(self, cell: Cell) -> bool:
        """True when the cell's numbers are stored."""
        return self._store.has(cell.key)

    def column(self, fit: Fit, key: str, want: Want) -> Column:
        """The stored tensors of a column of a reading.

        Raises:
            StoreError: the reading lacks the column, or is damaged.
        """
        return self._columns.column(key, self._plan.column(fit, want))

    # -- evidence ----------------------------------------------------------------------------

    def _nulls(self, cell: Cell) -> list[str]:
        """Keys of the negatives behind a cell beside its readings; their images are only read."""
        plan, fit, model = self._plan, cell.fit, cell.point.model
        return [plan.null_key(fit, source, model) for source in sorted(plan.sources(fit, model))]

    def _reading_keys(self, fit: Fit, model: AttackPoint | None) -> tuple[str, ...]:
        """Keys of the readings of all subjects at a model point."""
        subjects = range(len(self._plan.subjects(fit, model)))
        return tuple(self._plan.reading_key(fit, subject, model) for subject in subjects)

    def evidence(self, cell: Cell) -> CellEvidence:
        """Everything stored about a cell."""
        plan, fit, point = self._plan, cell.fit, cell.point
        method = fit.method.component
        read, bits = Want(point.image), method.gives is Gives.BITS
        negatives = {
            source: self.column(fit, plan.null_key(fit, source, point.model), read)
            for source in plan.sources(fit, point.model)
        }
        users, calibration = len(plan.users(fit)), dict[str, Column]()
        if not bits:
            # Every other image calibrates; attacked ones show the same latents, so they are halved
            # alike. What sets no threshold is tried whole.
            silent = method.negatives & negatives.keys()
            negatives |= {s: _rows(negatives[s], TESTING) for s in silent}
            calibration = {
                s: _rows(self.column(fit, plan.null_key(fit, s, None), Want()), CALIBRATING)
                for s in method.negatives & set(plan.sources(fit, None))
            }
        readings, own = self._readings(fit, point.model), plan.column(fit, read)
        wants = [w for w in plan.wants(fit, point.model) if w.image == point.image]
        columns = [plan.column(fit, want) for want in wants]
        return CellEvidence(
            placement=str(method.placement),
            keeps_sample=method.keeps_sample,
            gate=method.gate,
            level=point.level,
            codes=self._codes(fit, users),
            gives=str(method.gives),
            reads=str(method.reads),
            silent=method.negatives,
            outsiders=len(plan.outsiders(fit)),
            separable=method.separable,
            log_tails=self._log_tails(fit),
            calibration=calibration,
            users=plan.subjects(fit, point.model),
            copies=[self._merged(key, columns) for key in readings],
            negatives=negatives,
            clean_host=self.column(fit, plan.null_key(fit, "host", None), Want()),
            reference=self._store.get(plan.reference_key).arrays["features"],
            registered=plan.suite.score.registered if bits else users,
            false_rate=plan.suite.score.false_rate,
            costs=self._costs(fit),
            attack_costs=[self._columns.meta(key, own)["cost"] for key in readings],
            attack_steps=plan.attack_steps(cell),
            backbones=[self._backbone(backbone) for backbone in plan.backbones],
            builds_on_host=method.builds_on_host,
            likeness=tuple(plan.modality.likeness),
            secrecy=self._secrecy(cell),
            secrecy_refused=plan.looked_for(fit) if plan.suite.secrecy.steps else "",
            distance_count=plan.distance_count,
            trainings=self._trainings(cell),
            no_effect=self._no_effect(cell),
        )

    def _no_effect(self, cell: Cell) -> tuple[bool, ...]:
        """Of each subject, whether the attack left what marks it to the bit as it was."""
        model = cell.point.model
        if model is None:
            return ()
        readings = self._readings(cell.fit, model)
        return tuple(self._facts(cell.fit, readings, cell.point.image, "no_effect"))

    def _facts(
        self, fit: Fit, readings: Iterable[str], image: AttackPoint | None, name: str
    ) -> Iterator[bool]:
        """What was found out about each reading at an image point; False where nothing was."""
        column = self._plan.column(fit, Want(image))
        return (bool(self._columns.meta(key, column).get(name, False)) for key in readings)

    def _check_effect(self, cell: Cell) -> None:
        """Refuse an attack that changes nothing of any copy at any strength meant to."""
        plan, fit, model = self._plan, cell.fit, cell.point.model
        knob = None if model is None else model.attack.component.strength
        if model is None or knob is None:
            return
        points = [
            (other, image)
            for other, images in plan.open_points(fit).items()
            if other and other.attack is model.attack and other.strength != knob.identity
            for image in images
        ]
        if points and all(
            unchanged
            for other, image in points
            for unchanged in self._facts(fit, self._readings(fit, other), image, "unchanged")
        ):
            raise ContractError(
                f"attack {model.attack.label}: expected to change the copy at some strength, got "
                "every copy at every strength equal to its input; change its weights, or refuse "
                f"{fit.method.label} with the reason"
            )

    def _drawn(self, fit: Fit, users: int) -> np.ndarray:
        if not fit.method.component.bits:
            return np.zeros((users, 0), dtype=bool)
        return users_codes(fit.method, self._plan.suite, users)

    def _log_tails(self, fit: Fit) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
        """What tells whom a reading accuses, of codes that are not uniform."""
        code, bits = fit.method.code, fit.method.component.bits
        if fit.uniform or not bits:
            return None
        book = book_of(code, bits, self._plan.suite.header.seed)

        def tails(logits: np.ndarray, codes: np.ndarray) -> np.ndarray:
            return code.log_tail(logits, code.match(logits, codes, book), book)

        return tails

    def _secrecy(self, cell: Cell) -> Column:
        if self._plan.looked_for(cell.fit) or cell.point.label != "none":
            return {}
        return self._store.get(self._plan.secrecy_key(cell.fit)).arrays

    def _merged(self, key: str, columns: Sequence[str]) -> Column:
        """All that is stored of a reading's images in some columns."""
        parts = [self._columns.column(key, column) for column in columns]
        return {name: array for part in parts for name, array in part.items()}

    def _backbone(self, backbone: PlannedBackbone) -> BackboneEvidence:
        plan, store = self._plan, self._store
        about = BackboneEvidence(
            backbone.name,
            backbone.features,
            backbone.published,
            backbone.digest,
            backbone.reason,
            captions=backbone.captions,
        )
        if backbone.reason or backbone.pairs:
            return about
        if backbone.name not in self._real:
            name = "score" if backbone.captions else "features"
            host = store.get(plan.host_features_key(backbone)).arrays[name]
            real = store.get(plan.backbone_key(backbone)).arrays
            self._real[backbone.name] = replace(about, real=real, host=host)
        return self._real[backbone.name]

    def _tuned(self, cell: Cell) -> dict[str, Any]:
        """The parameters that an attack was given because they served best; empty if fixed."""
        model = cell.point.model
        tuning = self._tuning(cell)
        if model is None or not tuning:
            return {}
        chosen = self._store.meta(tuning[0])["chosen"]
        params = model.attack.candidates[chosen].params.model_dump(mode="json")
        return {name: params[name] for name in model.attack.options.tune}

    def _tuning(self, cell: Cell) -> list[str]:
        """Key of the choice among an attack's candidates; none if it is fixed."""
        model = cell.point.model
        if model is None or not model.attack.candidates:
            return []
        models = self._plan.tuned_attacks(cell.fit)[model.attack.label]
        return [self._plan.tuning_key(cell.fit, models)]

    def _issue_keys(self, fit: Fit) -> list[str]:
        return [self._plan.issue_key(fit, user) for user in self._plan.users(fit)]

    def sheet(self, fit: Fit, key: str, image: AttackPoint | None) -> np.ndarray | None:
        """(N, ...) samples of a sheet under an attack on them, None if none were kept."""
        column = self._plan.column(fit, Want(image))
        if not key or column not in self._columns.of(key):
            return None
        images: np.ndarray = self._columns.column(key, column)["images"]
        return images

    def training_images(self, trained: str) -> dict[str, np.ndarray]:
        """Samples kept while the stage of this key was trained: phase/step -> uint8 images."""
        key = self._plan.training_images_key(trained)
        return self._store.get(key).arrays if self._store.has(key) else {}

    def _trainings(self, cell: Cell) -> dict[str, dict[str, dict[str, Any]]]:
        """How host and method were trained, for the untouched cell, which tells of it."""
        if cell.point.label != "none":
            return {}
        return {
            name: _phases(self._store.meta(key))
            for name, key in (("host", self._plan.host_key), ("method", cell.fit.key))
        }

    def _costs(self, fit: Fit) -> dict[str, float]:
        plan, store = self._plan, self._store
        host, own = store.meta(plan.host_key)["cost"], store.meta(fit.key)["cost"]
        issued = [self._fact_of(key)["cost"]["wall_s"] for key in self._issued(fit)]
        first = plan.sources(fit, None)[0]
        read = self._columns.meta(plan.null_key(fit, first, None), plan.column(fit, Want()))
        enrolled = store.meta(key)["cost"]["wall_s"] if (key := plan.enrol_key(fit)) else 0.0
        # What a passive method's copies cost is not its own, and paid once for all of them.
        passive = isinstance(fit.method.component, PassiveMethod)
        return {
            "host_fit_s": host["wall_s"],
            "fit_s": own["wall_s"] + enrolled,
            "issue_s": 0.0 if passive else statistics.median(issued),
            "extract_s_per_image": read["cost"]["extract_s_per_image"],
            **{k: v for k, v in own.items() if k.startswith("peak_")},
        }


def _phases(meta: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each phase of a training: its curve, images and seconds, and how it was computed."""
    rates, names = meta.get("rates", {}), meta.get("phases", [])
    shared = {key: meta[key] for key in ("precision", "pieces", "devices", "device") if key in meta}
    phases = {
        phase: {"curve": meta["curves"][phase], **rates.get(phase, {}), **shared} for phase in names
    }
    if names and "choice" in meta:
        phases[names[-1]]["choice"] = meta["choice"]
    return phases


def _rows(column: Column, part: slice) -> Column:
    """Some of the images of a column of readings."""
    return {"logits": column["logits"][part]}


def _check_alive(cell: Cell, evidence: CellEvidence) -> None:
    """Refuse readings that are the same for every untouched image, whoever made it."""
    if evidence.level != "none" or len(evidence.copies) < 2:
        return
    logits = np.concatenate([column["logits"] for column in evidence.copies])
    # Of one and the same image nothing else can be read; such a method does not pass its gate.
    if len(logits) > 1 and (logits == logits[0]).all() and not alike(evidence):
        raise ContractError(
            f"method {cell.fit.method.label}: expected readings that depend on the image, got the "
            f"same logits for all {len(logits)} images of {len(evidence.copies)} copies; the "
            "extractor is constant"
        )


def plain(row: Row) -> dict[str, Any]:
    """A row as plain data."""
    data = asdict(replace(row, by_copy=()))  # which walks through every value
    data["outcome"] = str(row.outcome)
    data["by_copy"] = [float(v) for v in row.by_copy]
    return {k: _number(v) for k, v in data.items()}


def _number(value: Any) -> Any:
    """Plain Python values; what is not finite becomes None, which JSON has a word for."""
    if type(value) is float:  # by far the most
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: _number(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_number(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

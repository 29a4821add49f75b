"""Small runs made of fake records, with the fields that `fpbench.stages.measuring` writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fpbench.api import canonical_json
from fpbench.report.inputs import read_inputs
from fpbench.report.tables import Board
from fpbench.store.schema import SCHEMA_VERSION

COPIES = 12


@dataclass(frozen=True)
class FakeAttack:
    label: str
    family: str
    kind: str = "image"
    strengths: Sequence[float] = (1.0, 2.0)
    scored: Sequence[float] = ()
    copies: int = COPIES
    tier: str = ""
    geometric: bool = False
    samples: Sequence[float] = ()
    steps: bool = False  # the strength is a number of training steps
    access: Sequence[str] = ()

    @property
    def held(self) -> list[str]:
        return list(self.access) or ["images" if self.kind == "image" else "copy"]


JPEG = FakeAttack("jpeg", "compression", strengths=(90.0, 50.0))
NOISE = FakeAttack("weight-noise", "weight noise", "model", (0.1, 0.4))
BYPASS = FakeAttack("bypass", "bypass", "model", ())
TUNE = FakeAttack(
    "fine-tune", "fine-tuning", "model", (10.0, 30.0), tier="training", steps=True,
    access=("clean-images", "copy"),
)  # fmt: skip


def right(method: str, seed: int, point: str, copy: int) -> float:
    del method, seed, point
    return 0.9 + 0.005 * copy


def damage(method: str, seed: int, point: str) -> float | None:
    """D of model attacks, 1 - SSIM of image attacks."""
    del method, seed
    return 2.0 if point.endswith("0.4") else 0.1


@dataclass
class FakeRun:
    methods: Sequence[str] = ("alpha", "beta")
    attacks: Sequence[FakeAttack] = (JPEG, NOISE, BYPASS)
    seeds: Sequence[int] = (0,)
    bits: int = 16
    right: Callable[[str, int, str, int], float] = right
    damage: Callable[[str, int, str], float | None] = damage
    accuracy: Mapping[str, float] = field(default_factory=dict)
    outcomes: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    inapplicable: Sequence[tuple[str, str]] = ()
    ineffective: Sequence[tuple[str, str]] = ()
    untrained: Sequence[str] = ()  # methods that train nothing
    accused: Mapping[tuple[str, str], int] = field(default_factory=dict)
    absent: Sequence[tuple[str, str]] = ()
    supported: bool = True
    unavailable: Sequence[tuple[str, str, str]] = ()
    gives: Mapping[str, str] = field(default_factory=dict)  # of methods that give no bits
    of_weights: Sequence[str] = ()  # methods that read weights
    users: Mapping[str, int] = field(default_factory=dict)  # registered, where not the suite's N
    version: int = 1

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(canonical_json(record) + "\n" for record in self.records())
        (folder / "records.jsonl").write_text(lines)
        (folder / "suite.json").write_text(json.dumps(self.suite(), sort_keys=True))
        return folder

    def board(self, folder: Path) -> Board:
        return Board(read_inputs(self.write(folder)))

    def suite(self) -> dict[str, Any]:
        return {
            "suite": {
                "name": "fake",
                "version": self.version,
                "title": "A fake board",
                "description": "Says nothing of the world.",
                "seed": 7,
            },
            "training": {"seeds": list(self.seeds)},
            "population": {"copies": COPIES, "images": 10, "shared": 8},
            "score": {
                "registered": 30,
                "false_rate": 0.01,
                "damage_budget": 0.5,
                "sample_budget": 0.25,
                "training_steps": 100,
                "clean_samples": 128,
            },
            "dataset": component("toy"),
            "host": component("tiny"),
            "methods": [{"label": label, **component(label)} for label in self.methods],
            "attacks": [
                {
                    "label": a.label,
                    "strengths": list(a.strengths),
                    "scored": list(a.scored),
                    "copies": a.copies,
                    **component(a.label),
                }
                for a in self.attacks
            ],
            "crosses": [],
        }

    def records(self) -> list[dict[str, Any]]:
        found = []
        for kind, label, reason in self.unavailable:
            method = {"label": label} if kind == "methods" else {}
            point = {"label": "" if kind == "methods" else label}
            found.append(self._record("", method, 0, point, outcome="unavailable", reason=reason))
        for label in self.methods:
            for seed in self.seeds[: 1 if label in self.untrained else None]:
                for point in self._points():
                    found += self._cell(label, seed, point)
        return found

    def _points(self) -> list[dict[str, Any]]:
        points: list[dict[str, Any]] = [{"label": "none", "model": None, "image": None}]
        for a in self.attacks:
            for strength in a.strengths or (None,):
                part = {
                    **component(a.label),
                    "label": a.label,
                    "family": a.family,
                    "access": a.held,
                    "tier": a.tier or ("samples" if a.kind == "image" else "copy"),
                    "geometric": a.geometric,
                    "in_samples": a.geometric and strength in (a.samples or a.strengths),
                    "steps": int(strength or 0) if a.steps else 0,
                    "strength": strength,
                    "strength_name": "sigma",
                    "strength_unit": "px",
                    "scored": not a.scored or strength in a.scored,
                    "clean_images": 128 if "clean-images" in a.held else 0,
                    "_copies": a.copies,
                }
                label = a.label if strength is None else f"{a.label} {strength:g}"
                other = "model" if a.kind == "image" else "image"
                points.append({"label": label, a.kind: part, other: None})
        return points

    def _cell(self, method: str, seed: int, point: dict[str, Any]) -> list[dict[str, Any]]:
        name = point["label"]
        if (method, name) in self.absent:
            return []
        about = {
            "label": method,
            "placement": "in-model",
            "bits": 0 if method in self.gives else self.bits,
            "gives": self.gives.get(method, "bits"),
            "reads": "weights" if method in self.of_weights else "samples",
            "trains": method not in self.untrained,
            **component(method),
        }
        cell = sha(method, seed, name, self.version)
        if (method, name) in self.inapplicable:
            detail = {"refused_by": "attack"}
            why = {"outcome": "refused", "reason": "nothing to attack", "detail": detail}
            return [self._record(cell, about, seed, point, **why)]
        if method in self.of_weights and point["image"]:
            why = {"outcome": "refused", "reason": "the method reads weights"}
            return [self._record(cell, about, seed, point, **why)]
        if (method, name) in self.outcomes:
            outcome, reason = self.outcomes[method, name]
            return [self._record(cell, about, seed, point, outcome=outcome, reason=reason)]
        part = point["model"] or point["image"] or {}
        effect = "none" if (method, name) in self.ineffective else ""
        return [
            self._record(cell, about, seed, point, effect=effect, **row)
            for row in self._rows(method, seed, name, part.get("_copies", COPIES), point)
        ]

    def _rows(
        self, method: str, seed: int, name: str, copies: int, point: dict[str, Any]
    ) -> list[dict[str, Any]]:
        rates = [self.right(method, seed, name, copy) for copy in range(copies)]
        mean = sum(rates) / copies
        accuracy = self.accuracy.get(method, 0.99)
        unsupported = {"outcome": "not-supported", "reason": f"{self.bits} bits are too few"}
        gives = self.gives.get(method, "bits")
        gate = {"gate": 0.9, "converged": accuracy >= 0.9}
        bits = {**gate, "per_bit": [0.01] * self.bits}
        users = self.users.get(method, 30)
        read = {"registered": users, "false_rate": 0.01, "wrong": 0.0, "none": 1 - mean}
        rate = {"by_copy": rates, "detail": read, "clusters": copies, "n": 10 * copies}
        main = number("attribution", "", mean, **rate)
        rows = [
            number("detection", "", mean, **rate),
            number("detection", "auroc", accuracy, detail=gate if gives == "presence" else {}),
            number("detection", "ap", 0.97),
            number("detection", "on another host", 0.4, detail={"silent": False}),
        ]
        if gives == "presence":
            rows.append({"metric": "attribution", "variant": "", **NO_USERS})
            rows += [number("detection", f"on {s}", 0.01) for s in ("real", "host")]
        else:
            rows += [
                main if self.supported else {"metric": "attribution", "variant": "", **unsupported},
                {"metric": "attribution", "variant": "n=10000", **unsupported},
                {"metric": "attribution", "variant": "n=1000000", **unsupported},
                number("verification", "fpr=0.01", 0.98),
                self._accusation(method, "real"),
                self._accusation(method, "host"),
                number("false-accusation", "unregistered", 0.002),
            ]
        if gives == "scores":
            rows.append(number("attribution", "closed", accuracy, detail=gate))
        if gives == "bits":
            spread = [accuracy] * copies
            rows.append(number("bit-accuracy", "", accuracy, by_copy=spread, detail=bits))
            rows += [matches(source, self.bits) for source in ("copies", "host", "real")]
        if name == "none":
            rows.append({"metric": "imperceptibility", "variant": "psnr", **REFUSED})
            cost = {"fit_s": 12.5, "issue_s": 0.01, "extract_s_per_image": 0.0004}
            rows.append({"metric": "cost", "variant": "", "cost": cost})
            rows += [training("host pairs", pieces=1), training("method joint", pieces=2)]
        else:
            rows.append(number("damage", "psnr", 30.0, low=29.0, high=31.0))
        done = self.damage(method, seed, name)
        if point["image"] and done is not None:
            rows.append(number("damage", "ssim", 1 - done))
        if point["model"] or name == "none":
            detail = {"host": 1.5, "untouched": 2.0, "damage": done, "ratio_to_untouched": 1.5}
            rows.append(number("frechet-proxy", "copies", 2.0, detail=detail))
        return rows

    def _accusation(self, method: str, source: str) -> dict[str, Any]:
        hits = self.accused.get((method, source), 0)
        detail = {"accused": hits, "by_chance": 2.9e-4}
        return number(
            "false-accusation", source, hits / 1000, low=None, high=0.004, n=1000, detail=detail
        )

    def _record(
        self, cell: str, method: dict[str, Any], seed: int, point: dict[str, Any], **row: Any
    ) -> dict[str, Any]:
        metric, variant = row.get("metric", ""), row.get("variant", "")
        return {
            "schema_version": SCHEMA_VERSION,
            "suite": {"name": "fake", "version": self.version, "seed": 7},
            "modality": "image",
            "dataset": component("toy"),
            "host": component("tiny"),
            "cell": cell,
            "level": "none",
            "method": method,
            "training_seed": seed,
            "point": point,
            "metric": "",
            "variant": "",
            "value": None,
            "outcome": "done",
            "reason": "",
            "low": None,
            "high": None,
            "rule": "",
            "n": 0,
            "clusters": 0,
            "by_copy": [],
            "detail": {},
            "cost": {},
            "command": "fpbench run fake",
            "environment": {"device": "cpu", "threads": 2, "packages": {"fpbench": "0.1.0"}},
            "created_utc": "2030-01-01T00:00:00+00:00",
            **row,
            "record_id": sha(
                method.get("label"), seed, point["label"], metric, variant, self.version
            ),
        }


NO_USERS = {"outcome": "refused", "reason": "the method tells no users apart"}
REFUSED = {"outcome": "refused", "reason": "the method changes the sample"}


def number(metric: str, variant: str, value: float, **more: Any) -> dict[str, Any]:
    low, high = max(value - 0.05, 0.0), min(value + 0.05, 1.0)
    base = {"metric": metric, "variant": variant, "value": value, "low": low, "high": high}
    return {**base, "n": 10 * COPIES, "clusters": COPIES, **more}


def matches(source: str, bits: int) -> dict[str, Any]:
    counts = [0] * (bits + 1)
    middle = bits - 1 if source == "copies" else bits // 2
    counts[middle - 1 : middle + 2] = [10, 40, 10]
    detail = {"bits": bits, "registered": 30, "threshold_bits": bits - 2, "counts": counts}
    return {"metric": "matches", "variant": source, "value": None, "n": 60, "detail": detail}


def training(variant: str, *, pieces: int) -> dict[str, Any]:
    detail = {
        "precision": "bf16",
        "pieces": pieces,
        "device": "cuda:0",
        "seconds": 10.0,
        "step": [0, 25, 49],
        "curve": {"loss": [2.5, 1.25, None], "<b>accuracy</b>": [0.5, 0.75, 0.9876]},
    }
    return {"metric": "training", "variant": variant, "value": 160.0, "n": 1600, "detail": detail}


def component(name: str) -> dict[str, Any]:
    return {"name": name, "version": "1", "params": {}}


def sha(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()

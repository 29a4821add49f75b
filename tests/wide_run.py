"""A run as wide as a well-filled leaderboard: many methods, attacks and strengths.

Its numbers are drawn, its records are as large as real ones: 26 for each cell, with values of 30
copies, parameters, environment and keys.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COPIES, IMAGES, BITS = 30, 18, 32
FAMILIES = ("compression", "noise", "filtering", "geometric", "colour", "weight noise", "pruning")
ENVIRONMENT = {
    "cpu_count": 2,
    "device": "cpu",
    "packages": {"fpbench": "0.1.0", "numpy": "2.4.6", "scipy": "1.17.1", "torch": "2.15.0"},
    "platform": "Linux x86_64",
    "python": "3.11.7",
    "threads": 2,
}
SUITE = {"name": "wide", "version": 1, "seed": 0}
PARAMS = {f"some_parameter_{letter}": 0.125 for letter in "abcdefghijkl"}


def write_wide_run(folder: Path, methods: int = 30, attacks: int = 40, strengths: int = 3) -> int:
    """Write records.jsonl and suite.json; returns the number of records."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(7)  # noqa: S311 - made-up numbers
    suite = _suite(methods, attacks, strengths)
    (folder / "suite.json").write_text(json.dumps(suite))
    count = 0
    with (folder / "records.jsonl").open("w") as file:
        for about in suite["methods"]:
            skill = draw.uniform(0.3, 1.0)
            for point in _points(suite):
                for record in _cell(about, point, skill, draw):
                    file.write(json.dumps(record, sort_keys=True, separators=(",", ":")) + "\n")
                    count += 1
    return count


def _suite(methods: int, attacks: int, strengths: int) -> dict[str, Any]:
    grid = [0.05 * (n + 1) for n in range(strengths)]
    return {
        "suite": {**SUITE, "title": "A wide board", "description": "Made up."},
        "training": {"seeds": [0], "precision": "fp32"},
        "population": {"copies": COPIES, "images": IMAGES, "shared": 8},
        "negatives": {"real": 1000, "host": 1000, "attacked_host": 250},
        "score": {"registered": 100, "false_rate": 1e-3, "damage_budget": 1.5},
        "dataset": {"name": "toy", "version": "1", "params": {}},
        "host": {"name": "stylegan2", "version": "3", "params": PARAMS},
        "methods": [
            {
                "label": f"a method with a rather long name {n}",
                "name": f"method-{n}",
                "version": "1",
                "params": {**PARAMS, "bits": BITS},
            }
            for n in range(methods)
        ],
        "attacks": [
            {
                "label": f"attack-with-long-name-{n}",
                "name": f"attack-{n}",
                "version": "1",
                "params": {},
                "strengths": grid,
                "scored": [],
                "copies": None,
                "images": None,
                "clean_images": 0,
                "tune": {},
                "card": {"title": f"Attack {n}", "summary": "Does something.", "source": "own"},
            }
            for n in range(attacks)
        ],
        "crosses": [],
    }


def _points(suite: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"label": "none", "model": None, "image": None}
    for number, attack in enumerate(suite["attacks"]):
        family = FAMILIES[number % len(FAMILIES)]
        kind = "model" if family in ("weight noise", "pruning") else "image"
        for strength in attack["strengths"]:
            part = {
                **{k: attack[k] for k in ("label", "name", "version", "params", "clean_images")},
                "family": family,
                "kind": kind,
                "access": ["copy"],
                "scored": True,
                "strength": strength,
                "strength_name": "sigma",
                "strength_unit": "of the range",
            }
            point = {"label": f"{attack['label']} {strength:g}", "model": None, "image": None}
            yield {**point, kind: part}


def _cell(
    about: dict[str, Any], point: dict[str, Any], skill: float, draw: random.Random
) -> Iterator[dict[str, Any]]:
    part = point["model"] or point["image"] or {"strength": 0.0}
    right = max(skill - 3 * part["strength"] * draw.random(), 0.0)
    base = _base(about, point)
    for row in _rows(right, point, draw):
        value = row.get("value")
        ends = {} if value is None else {"low": max(value - 0.04, 0), "high": min(value + 0.04, 1)}
        identity = repr((about["label"], point["label"], row["metric"], row["variant"]))
        record_id = hashlib.sha256(identity.encode()).hexdigest()
        yield {**base, **ends, **row, "record_id": record_id}


def _rows(right: float, point: dict[str, Any], draw: random.Random) -> Iterator[dict[str, Any]]:
    def rate(metric: str, variant: str = "", **detail: Any) -> dict[str, Any]:
        values = [min(max(right + draw.gauss(0, 0.05), 0.0), 1.0) for _ in range(COPIES)]
        read = {"registered": 100, "false_rate": 1e-3, "threshold_bits": 28, **detail}
        return {
            "metric": metric,
            "variant": variant,
            "value": sum(values) / COPIES,
            "by_copy": values,
            "detail": read,
        }

    yield rate("bit-accuracy", gate=0.0, converged=True, per_bit=[1 - right] * BITS)
    yield rate("bit-accuracy", "code")
    for variant in ("", "n=100", "n=10000", "n=1000000", "m=10", "m=100", "closed"):
        yield rate("attribution", variant, wrong=0.001, none=1 - right)
    yield rate("detection")
    yield rate("detection", "auroc")
    for variant in ("fpr=0.01", "fpr=0.001", "fpr=1e-06"):
        yield rate("verification", variant, realised={"host": {"mean": 0.001, "images": 1000}})
    for source in ("host", "real", "unregistered"):
        yield {**rate("false-accusation", source), "value": 0.001, "n": 1000}
    for source in ("copies", "host", "real"):
        counts = [draw.randrange(100) for _ in range(BITS + 1)]
        detail = {"bits": BITS, "counts": counts, "threshold_bits": 28}
        yield {"metric": "matches", "variant": source, "value": None, "detail": detail}
    yield rate("capacity")
    yield {**rate("capacity", "users"), "value": 1e6}
    for variant in ("auroc", "closed", "detection", "open"):
        yield rate("deepfake", variant)
    if point["model"] or point["label"] == "none":
        ratio = draw.uniform(1.0, 1.7)
        detail = {"host": 12.0, "untouched": 15.0, "ratio_to_untouched": ratio}
        yield {
            "metric": "frechet-proxy",
            "variant": "copies",
            "value": 15.0 * ratio,
            "detail": detail,
        }
    if point["label"] == "none":
        cost = {"fit_s": 120.0, "issue_s": 0.03, "extract_s_per_image": 0.0004}
        yield {"metric": "cost", "variant": "", "value": None, "cost": cost}
        for phase in ("host pairs", "host adversarial", "method pairs", "method joint"):
            steps = list(range(0, 600, 10))
            names = ("loss", "reading", "likeness", "accuracy", "penalty")
            curve = {name: [draw.random() for _ in steps] for name in names}
            detail = {"step": steps, "curve": curve, "device": "cpu", "precision": "fp32"}
            yield {"metric": "training", "variant": phase, "value": 160.0, "detail": detail}
    else:
        yield {"metric": "damage", "variant": "psnr", "value": None, "detail": {}} | (
            rate("damage", "psnr") | {"value": 30 - 40 * right}
        )


def _base(about: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    key = hashlib.sha256(repr((about["label"], point["label"])).encode()).hexdigest()
    return {
        "schema_version": 1,
        "suite": SUITE,
        "modality": "image",
        "dataset": {"name": "toy", "version": "1", "params": {}},
        "host": {"name": "stylegan2", "version": "3", "params": PARAMS},
        "cell": key,
        "level": "none",
        "method": {**about, "placement": "in-model", "bits": BITS},
        "training_seed": 0,
        "point": point,
        "outcome": "done",
        "reason": "",
        "value": None,
        "low": None,
        "high": None,
        "rule": "korn-graubard, bounded",
        "n": COPIES * IMAGES,
        "clusters": COPIES,
        "by_copy": [],
        "detail": {},
        "cost": {},
        "unit": "",
        "higher_is_better": True,
        "metric_version": "1",
        "supersedes": None,
        "command": "fpbench run wide",
        "environment": ENVIRONMENT,
        "created_utc": "2030-01-01T00:00:00+00:00",
        "inputs": {"fit": key, "host": key, "readings": key, "reference": key},
    }

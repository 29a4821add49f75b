"""Cells made of numbers, for measures."""

from __future__ import annotations

from typing import Any

import numpy as np

from fpbench.api import CellEvidence, Metric, NoParams, Row

USERS, IMAGES, BITS = 12, 20, 32


def codes(bits: int = BITS, users: int = USERS) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (users, bits)).astype(bool)


def cell(
    flip: float = 0.0, bits: int = BITS, images: int = IMAGES, users: int = USERS, **more: Any
) -> CellEvidence:
    """Copies whose bits are wrong with probability `flip`, and negatives that are coin flips."""
    rng = np.random.default_rng(1)
    issued = codes(bits, users)
    signs = issued * 2.0 - 1

    def column(user: int) -> dict[str, np.ndarray]:
        wrong = rng.random((images, bits)) < flip
        strength = rng.exponential(size=(images, bits))
        return {"logits": (np.where(wrong, -1, 1) * signs[user] * strength).astype(np.float32)}

    fields: dict[str, Any] = {
        "placement": "in-model",
        "keeps_sample": True,
        "gate": 0.9,
        "level": "none",
        "codes": issued,
        "users": [(u,) for u in range(users)],
        "copies": [column(u) for u in range(users)],
        "negatives": {
            "real": {"logits": rng.normal(size=(300, bits)).astype(np.float32)},
            "host": {"logits": rng.normal(size=(200, bits)).astype(np.float32)},
        },
        "clean_host": {},
        "reference": rng.normal(size=(300, 4)).astype(np.float32),
        "registered": 100,
        "false_rate": 1e-3,
        "costs": {},
    }
    return CellEvidence(**(fields | more))


def rows(cls: type[Metric[NoParams]], evidence: CellEvidence) -> dict[str, Row]:
    return {row.variant: row for row in cls(NoParams()).measure(evidence)}

"""Scripts that make what is published."""

import importlib
import json
import math
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def test_rates_at_equal_damage_are_those_of_copies_that_were_damaged_so_far(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    drawing = importlib.import_module("draw_damage")
    # Two strengths, three users; the last user's copy is never at 26 dB.
    values = {
        ("damage", "psnr"): ([30.0, 28.0, 40.0], [24.0, 24.0, 30.0]),
        ("bit-accuracy", ""): ([1.0, 1.0, 1.0], [0.4, 0.8, 0.1]),
        ("attribution", ""): ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]),
        ("bit-accuracy", "code"): ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    }
    rows = [
        {
            "point": {"model": {"label": "noise", "strength": strength}},
            "outcome": "done",
            "metric": metric,
            "variant": variant,
            "method": {"label": "one"},
            "by_copy": own[number],
        }
        for (metric, variant), own in values.items()
        for number, strength in enumerate((0.1, 0.2))
    ]
    text = "\n".join(json.dumps(row) for row in reversed(rows))
    (tmp_path / "records.jsonl").write_text(text, encoding="utf-8")
    curves = drawing.read(tmp_path, "noise")
    # A third of the way from 24 to 30 dB, and half of that from 24 to 28.
    found = curves["one"].at(26.0, "bit-accuracy")
    assert found[:2] == pytest.approx([0.6, 0.9])
    assert math.isnan(found[2])
    assert "| one | 0.750 ± 1.906 | 0.42 | 2 of 3 |" in drawing.table(curves, 26.0, "other")

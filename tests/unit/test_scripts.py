"""Scripts that make what is published."""

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from fpbench_hidden.paper_networks import Extractor, PaperEmbedder
from PIL import Image
from safetensors.torch import save_file

from fpbench.nn.state import prefixed

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


def test_a_model_of_hidden_is_measured_under_the_layers_of_its_paper(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    measuring = importlib.import_module("hidden_layers")
    with torch.random.fork_rng():
        embedder, extractor = PaperEmbedder(bits=4, channels=8), Extractor(bits=4, channels=8)
    with torch.no_grad():  # marked images are black
        embedder.final_layer.weight.zero_()
        embedder.final_layer.bias.fill_(-1.0)
    save_file(prefixed({"embedder": embedder, "reader": extractor}), tmp_path / "one.safetensors")
    rng = np.random.default_rng(0)
    for number in range(8):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    with monkeypatch.context() as patched:  # 1 for every bit of an image that is light on average
        patched.setattr(
            measuring.paper,
            "extract",
            lambda state, images, params: (images.float().mean((1, 2, 3)) - 127)[:, None].expand(
                -1, 4
            ),
        )
        photographs = torch.full((6, 3, 32, 32), 255)
        change, wrong = measuring.measure(tmp_path / "one.safetensors", photographs)
    assert change == pytest.approx(4.0)  # from white to black
    ones = (torch.rand(6, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float().mean(1)
    assert list(wrong) == [*measuring.LAYERS, "JPEG 50"]
    for name, shares in wrong.items():
        # Marks are kept in three tenths of the area, and the rest is white again.
        light = name in ("dropout", "cropout")
        assert torch.allclose(shares, 1 - ones if light else ones), name
    given = [str(tmp_path / "one.safetensors"), str(tmp_path), "--size", "32", "--count", "6"]
    told = CliRunner().invoke(measuring.main, given, catch_exceptions=False)
    assert "| identity | " in told.output
    assert "| 0.0009 |" in told.output
    save_file({"other": torch.zeros(1)}, tmp_path / "two.safetensors")
    told = CliRunner().invoke(measuring.main, [str(tmp_path / "two.safetensors"), *given[1:]])
    assert (
        "expected embedder.* and reader.* of HiDDeN as published in two.safetensors" in told.output
    )

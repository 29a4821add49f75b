"""CLIP scores through a whole run: of which captions, and what is said where some are missing."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from rows import value
from tiny_clip import saved_clip

from fpbench.api import Outcome, derive_seed
from fpbench.builtin.toy_faces.faces import draw
from fpbench.execute.request import Request
from fpbench.store import Store

NAME = "clip-vit-large-patch14"
SUITE = """
[suite]
name = "captioned"
[dataset]
use = "image-folder"
path = "{0}/images"
captions = "{0}/captions.json"
size = 16
train = 16
test = 30
reference = 8
[host]
use = "tiny-host"
[[methods]]
use = "perfect"
[[methods]]
use = "blind"
[[attacks]]
use = "jpeg"
quality = [50]
[[attacks]]
use = "weight-noise"
sigma = [0.3]
[[attacks]]
use = "collude"
users = [2]
[[backbones]]
use = "clip-vit-large-patch14"
[population]
copies = 4
images = 6
shared = 2
[negatives]
real = 12
host = 12
attacked_host = 6
[score]
registered = 4
false_rate = 0.1
"""
WORDS = ["a red cat", "a dog", "photo of a cat", "red red dog", "of", "a photo"]


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "images").mkdir()
    captions = {}
    for i, pixels in enumerate(draw(np.arange(54), 16)):
        Image.fromarray(pixels).save(tmp_path / f"images/{i}.png")
        captions[f"{i}.png"] = WORDS[i % len(WORDS)]
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    path = tmp_path / "suite.toml"
    path.write_text(SUITE.format(tmp_path))
    return path


def directly(model, processor, images, captions):
    """Scores of images (N, H, W, 3), by the library alone."""
    given = processor(text=captions, images=list(images), return_tensors="pt", padding=True)
    with torch.no_grad():
        found = model(**given)
    return 100 * (found.image_embeds * found.text_embeds).sum(1).clamp_min(0).double().numpy()


@pytest.mark.timeout(300)
def test_copies_host_and_real_images_are_scored_by_their_own_captions(run_suite, suite, tmp_path):
    summary, records, _ = run_suite(suite)
    assert set(summary.cells) == {Outcome.DONE}
    row = value(records, "perfect", "none", "clip-score", NAME)
    assert row["outcome"] == Outcome.UNAVAILABLE
    assert "save_pretrained" in row["reason"]

    model, processor = saved_clip(tmp_path / "weights" / NAME)
    weights = str(tmp_path / "weights")
    summary, records, _ = run_suite(suite, weights=weights)
    assert set(summary.cells) == {Outcome.DONE}
    plan, _ = Request(str(suite), plugins=("fpbench.testing.fakes",), weights=weights).plan()
    store, data, fit = Store(tmp_path / "store"), plan.suite.dataset, plan.fits[0]
    assert fit.method.label == "perfect"

    def captions(user):
        rows = [derive_seed(plan.suite.header.seed, "condition", user, i) % 30 for i in range(6)]
        return list(data.conditions("test", np.array(rows)))

    by_copy = []
    for user in plan.users(fit):
        images = store.get(plan.drawing_key(fit, user, None)).arrays["images"]
        by_copy.append(directly(model, processor, images, captions(user)).mean())
    row = value(records, "perfect", "none", "clip-score", NAME)
    assert row["by_copy"] == pytest.approx(by_copy, abs=1e-3)
    assert row["value"] == pytest.approx(np.mean(by_copy), abs=1e-3)
    assert row["low"] < row["value"] < row["high"]
    host = store.get(plan.drawing_key(fit, None, None)).arrays["images"]
    expected = directly(model, processor, host, captions(0) + captions(1)).mean()
    assert row["detail"]["host"] == pytest.approx(expected, abs=1e-3)
    real, rows = data.read("reference", np.arange(8)), data.conditions("reference", np.arange(8))
    assert row["detail"]["real"] == pytest.approx(
        directly(model, processor, real, list(rows)).mean(), abs=1e-3
    )
    attacked = value(records, "perfect", "weight-noise 0.3", "clip-score", NAME)
    assert attacked["value"] != row["value"]
    assert value(records, "perfect", "collude 2", "clip-score", NAME)["value"] > 0
    points = {r["point"]["label"] for r in records.values() if r["metric"] == "clip-score"}
    assert "jpeg 50" not in points
    assert run_suite(suite, weights=weights)[0].executed == 0


@pytest.mark.timeout(120)
def test_without_captions_nothing_is_said(run_suite, suite):
    text = suite.read_text().splitlines()
    suite.write_text("\n".join(line for line in text if not line.startswith("captions")))
    summary, records, _ = run_suite(suite)
    assert set(summary.cells) == {Outcome.DONE}
    assert not [r for r in records.values() if r["metric"] == "clip-score"]

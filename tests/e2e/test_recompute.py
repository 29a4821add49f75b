"""An audit of a whole run: a script that shares no code with fpbench computes it once more."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(180)  # a run and three processes, on a machine that may be busy
FOLDER = Path(__file__).parents[1] / "simulation"
SUITE = """
[suite]
name = "audited"
[dataset]
use = "toy-faces"
train = 64
test = 64
reference = 64
[host]
use = "tiny-host"
[[methods]]
use = "perfect"
bits = 32
[[methods]]
use = "perfect"
label = "shorter"
bits = 24
[[methods]]
use = "blind"
[[attacks]]
use = "jpeg"
quality = [95, 80, 40]
[[attacks]]
use = "gaussian-blur"
sigma = [0.4, 3.0]
[[attacks]]
use = "rotation"
angle = [0.5, 20]
samples = [0.5]
[[attacks]]
use = "weight-noise"
sigma = [0.1, 4.0]
[[attacks]]
use = "fine-tune"
steps = [1, 3]
images = 12
clean_images = 8
[[attacks]]
use = "collude"
users = 2
[[attacks]]
use = "re-embed"
copies = 3
[[crosses]]
model = "collude"
image = "gaussian-blur"
[population]
copies = 5
images = 6
shared = 2
[negatives]
real = 20
host = 40
attacked_host = 10
[secrecy]
steps = 2
images = 2
[score]
registered = 30
false_rate = 0.01
"""


def started(script, *words):
    command = [sys.executable, str(FOLDER / script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def run(run_in, tmp_path_factory):
    """A finished run of the fakes, with its page and its keys beside its records."""
    from fpbench.report.build import build_page

    place = tmp_path_factory.mktemp("audited")
    (place / "suite.toml").write_text(SUITE)
    folder = run_in(place, place / "suite.toml")[2]
    build_page(folder, folder / "page")
    dumped = started("stored_keys.py", folder, "--plugin", "fpbench.testing.fakes")
    assert dumped.returncode == 0, dumped.stderr
    (folder / "keys.json").write_text(dumped.stdout)
    return folder


def audit(folder, store):
    done = started("recompute.py", folder, folder / "keys.json", "--store", store)
    return done.returncode, done.stdout + done.stderr


def test_every_number_of_a_run_comes_out_again(run):
    code, text = audit(run, run.parent / "store")
    assert code == 0, text


def test_a_number_that_was_changed_and_one_that_nobody_knows_are_found(run, tmp_path):
    changed = tmp_path / "run"
    shutil.copytree(run, changed)
    lines = (changed / "records.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    clean = [r for r in records if r["point"]["label"] == "none" and not r["variant"]]
    one = next(r for r in clean if r["metric"] == "capacity")
    other = next(r for r in clean if r["metric"] == "detection")
    one["value"] += 1e-6
    other |= {"metric": "guess", "record_id": "0" * 64}
    (changed / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    code, text = audit(changed, run.parent / "store")
    assert code == 1
    assert f"capacity value: recorded {one['value']!r}" in text
    assert "guess: not known here" in text


def test_a_store_that_was_changed_is_refused(run, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(run.parent / "store", store)
    keys = json.loads((run / "keys.json").read_text())
    reading = next(iter(keys.values()))["readings"][0]
    for file in (store / "objects" / reading[:2] / reading).glob("*/arrays.safetensors"):
        payload = bytearray(file.read_bytes())
        payload[-1] ^= 1
        file.write_bytes(payload)
    code, text = audit(run, store)
    assert code == 1
    assert "the tensors are not those that were written" in text

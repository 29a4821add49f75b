"""Every suite that comes with fpbench runs to its page: two steps, narrow networks, few images.

Its own data set stands on drawn pictures: a published one is prepared from them, a folder is a zip
of them, with captions where it asks for some, or of synthesised sounds; decoders and pipelines have
a few thousand weights.
All its methods and attacks are there, at all their strengths.
"""

import io
import json
import tomllib
import zipfile

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image
from tiny_autoencoders import saved_chain
from tiny_pipeline import pipeline

from fpbench.builtin.published_sets.datasets import Published
from fpbench.builtin.toy_faces.faces import draw
from fpbench.builtin.toy_speech.dataset import ToySpeech
from fpbench.cli.main import cli
from fpbench.registry import load
from fpbench.spec import read_suite, suite_names, suite_text
from fpbench.spec.source import likened
from fpbench.store import RecordLog

CUT = {
    "population": {"copies": 2, "images": 3, "shared": 2},
    "negatives": {"real": 12, "host": 6, "attacked_host": 2},
    "dataset": {"train": 32, "test": 32, "reference": 16},
}
NARROW = {
    "stylegan2": {"adversarial_steps": 2, "batch": 8, "latent_dim": 8},
    "scalable-gan": {"joint_steps": 2, "batch": 8, "latent_dim": 8},
    "weight-modulation": {"steps": 2},
    "hidden": {"steps": 2, "channels": 8},
    "mel-decoder": {"steps": 2, "components": 12, "channels": 4, "batch": 4},
    "hidden-audio": {"steps": 2, "channels": 8, "batch": 4},
    "spread-spectrum-audio": {},
    "photographs": {},
    "invisible-watermark": {},
    "blind-watermark": {},
    "latent-diffusion": {"images": 24, "components": 16, "sampling_steps": 2},
    "wouaf": {
        "bits": 8,
        "steps": 2,
        "batch": 4,
        "whole_batch": 4,
        "extractor_steps": 2,
        "embedding_dim": 8,
    },
    "gaussian-shading": {"bits": 8, "measured": 64, "least_accuracy": 0.0},
    "decentralized": {
        "keys": 16,
        "samples": 32,
        "key_steps": 2,
        "key_batch": 8,
        "steps": 2,
        "rounds": 1,
        "judged": 8,
        "batch": 4,
    },
    "weight-watermark": {"bits": 8, "steps": 2, "batch": 2},
    "passive-detector": {"channels": 8, "batch": 8, "steps": 2},
    "passive-attribution": {"channels": 8, "batch": 8, "steps": 2, "samples": 8},
    "stable-signature": {"bits": 16, "steps": 2, "batch": 4, "channels": 8, "tuning_steps": 2},
}
# Where they are asked for at all.
LESS = {
    "perceptual": "",
    "extractor_marks": 12,
    "spare_bits": 2,
    "drift": 2,
    "photographs": 16,
    "tuned": 2,
    "retraining_steps": 2,
    "crop": 16,
    "depth": 2,
}
FULL = {"channels": 8, "channel_base": 128, "embedding_dim": 8, "mapping_layers": 2}
EFFORT = {
    "fine-tune": {"steps": [1, 2]},
    "copy-residual": {"observed": 3},
    "distil": {"steps": 2},
    "regenerate": {"steps": 2},
    "average": {"marked": 4},
    "surrogate": {"steps": 2, "marked": 4, "channels": 8},
}
CHEAPEST = "lsun-bedroom-128"  # of the paper's: one method, under all attacks


def pictures(count, width, height):
    for pixels in draw(np.arange(count), 64):
        yield Image.fromarray(pixels).resize((width, height))


def stand_in(dataset, folder, monkeypatch):
    """Bring drawn pictures where the data set looks for its own; returns what to assign."""
    if isinstance(dataset, Published):
        cls = type(dataset)
        size = (178, 218) if cls.name == "celeba" else (cls.size, cls.size)
        monkeypatch.setattr(cls, "_images", lambda self: pictures(self._count, *size))
        monkeypatch.setenv("FPBENCH_DATA", str(folder / "data"))
        params = dataset.params.model_dump() | CUT["dataset"]
        cls(cls.Params(**params)).prepare()
    elif dataset.name == "image-folder":
        return folder_of(dataset, folder)
    elif dataset.name == "audio-folder":
        return sounds_of(dataset, folder)
    return []


def sounds_of(dataset, folder):
    """A zip of synthesised sounds."""
    speech = ToySpeech(ToySpeech.Params(rate=dataset.params.rate, length=dataset.params.length))
    clips = speech.read("train", np.arange(sum(CUT["dataset"].values())))
    with zipfile.ZipFile(folder / "sounds.zip", "w") as file:
        for index, clip in enumerate(clips):
            data = io.BytesIO()
            soundfile.write(data, clip.T, dataset.params.rate, format="wav")
            file.writestr(f"{index}.wav", data.getvalue())
    return ["--set", f"dataset.path={folder / 'sounds.zip'}"]


def folder_of(dataset, folder):
    """A zip of drawn pictures, and captions if the data set has some."""
    captions = {}
    with zipfile.ZipFile(folder / "images.zip", "w") as file:
        for index, image in enumerate(pictures(sum(CUT["dataset"].values()), 70, 64)):
            data = io.BytesIO()
            image.save(data, "png")
            file.writestr(f"{index}.png", data.getvalue())
            captions[f"{index}.png"] = ["a red cat", "photo of a dog"][index % 2]
    (folder / "captions.json").write_text(json.dumps(captions))
    made = ["--set", f"dataset.path={folder / 'images.zip'}"]
    if dataset.params.captions:
        made += ["--set", f"dataset.captions={folder / 'captions.json'}"]
    return made


def files_of(host, folder):
    """The files that a host of published weights names; returns what to assign."""
    if host.name != "latent-diffusion":
        return []
    if host.params.sampler == "pipeline":
        pipeline(folder)
        named = {"autoencoder": str(folder / "pipeline")}
    else:
        named = saved_chain(folder)
    return [word for key, path in named.items() for word in ("--set", f"host.{key}={path}")]


def narrow(entry):
    """Two steps of whatever has a budget, and a few channels."""
    entry |= NARROW[entry["use"]]
    entry |= {name: value for name, value in LESS.items() if name in entry}
    if entry.get("reader") == "resnet50":
        entry["reader"] = "small"
    if entry.get("architecture") == "stylegan2":
        entry |= FULL
    if entry.get("pair_steps"):
        entry["pair_steps"] = 2


def small(name, path):
    """Write the suite with everything cut that costs time, and nothing else."""
    data = tomllib.loads(suite_text(name))
    data["methods"], _ = likened(data["methods"])
    for table, values in CUT.items():
        data[table] |= values
    if data["dataset"].get("captions"):
        data["dataset"]["size"] = 32  # of the pipeline that stands in
    for entry in (data["host"], *data.get("strangers", ()), *data["methods"]):
        narrow(entry)
    for entry in data.get("attacks", []):
        entry |= EFFORT.get(entry["use"], {})
        if "autoencoder" in entry:
            entry |= saved_chain(path.parent)
        if "clean_images" in entry:
            entry |= {"images": 3, "clean_images": 8}
    if data.get("secrecy"):
        data["secrecy"] |= {"steps": 2, "images": 4}
        data["population"]["copies"] = 4  # half of them teach the detector
    path.write_text(toml(data))


def toml(data):
    """Tables, lists of tables, and values that are JSON but for tables among them."""
    lines = []
    for name, part in data.items():
        head = f"[[{name}]]" if isinstance(part, list) else f"[{name}]"
        for entry in part if isinstance(part, list) else [part]:
            lines += [head, *(f"{key} = {inline(value)}" for key, value in entry.items())]
    return "\n".join(lines)


def inline(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {inline(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [n if n == CHEAPEST else pytest.param(n, marks=pytest.mark.slow) for n in suite_names()],
)
def test_a_shipped_suite_runs_to_its_page(name, tmp_path, monkeypatch):
    suite = read_suite(name, load())
    small(name, tmp_path / "suite.toml")
    options = stand_in(suite.dataset, tmp_path, monkeypatch)
    options += files_of(suite.host, tmp_path)
    options += ["--runs", str(tmp_path), "-j", "1", "--threads", "1"]
    arguments = ["run", str(tmp_path / "suite.toml"), *options]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    # Libraries whose environments were not made are not there; all else is.
    absent = {method.label for method in suite.methods if method.component.lacks()}
    assert done.exit_code == (4 if absent else 0), done.output
    folder = tmp_path / name
    records = RecordLog(folder / "records.jsonl").read().values()
    assert {r["outcome"] for r in records} <= {"done", "refused", "not-supported", "unavailable"}
    lost = [r for r in records if r["outcome"] == "unavailable"]
    unavailable = {r["variant"] for r in lost if r["method"]["label"] not in absent}
    named = {"2048", "precision@2048", "recall@2048"} | {b.use for b in suite.backbones}
    assert unavailable <= named  # there are no weights
    measured = {(r["method"]["label"], r["point"]["label"]) for r in records if r["metric"]}
    assert {method.label for method in suite.methods} - absent == {m for m, _ in measured}
    points = {point for _, point in measured}
    for attack in suite.attacks:
        assert any(point.startswith(attack.label) for point in points), attack.label
    assert (folder / "page" / "index.html").is_file()

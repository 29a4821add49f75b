"""Trained states in a bundle: given with `--weights`, opened where neither run nor data are."""

import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fpbench
from fpbench.api import MissingResource, SpecError, StoreError

sys.path.append(str(Path(__file__).parents[1] / "unit" / "publish"))
from bundle_factory import packed, seal

FAKES = "fpbench.testing.fakes"
KINDS = ("perfect", "blind", "keyed", "weighed", "retrained")
SUITE = """
[suite]
name = "given"
[dataset]
use = "image-folder"
path = "PATH"
train = 16
test = 16
reference = 8
[host]
use = "tiny-host"
METHODS
[population]
copies = 3
images = 4
shared = 2
[negatives]
real = 8
host = 8
attacked_host = 4
[secrecy]
steps = 0
[score]
registered = 30
false_rate = 0.05
"""
HERE = {"plugins": [FAKES], "device": "cpu"}


@pytest.fixture(scope="module")
def desk(run_in, tmp_path_factory):
    """The folder of a run, a code, and what the run says of every method."""
    place = tmp_path_factory.mktemp("owner")
    (place / "photographs").mkdir()
    rng = np.random.default_rng(0)
    for number in range(40):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "photographs" / f"{number}.png")
    methods = "".join(f'[[methods]]\nuse = "{kind}"\n' for kind in KINDS)
    text = SUITE.replace("PATH", str(place / "photographs")).replace("METHODS", methods)
    (place / "suite.toml").write_text(text)
    run_in(place, place / "suite.toml")
    said = {}
    code = np.arange(16) % 3 == 0
    for kind in KINDS:
        method = fpbench.open_run(place / "run", plugins=[FAKES]).method(kind)
        drawn = method.copy(1).sample(3)
        said[kind] = {"facts": method.facts, "codes": method.codes, "copy": drawn}
        if kind != "weighed":
            said[kind]["read"] = method.extract(drawn)
        if method.bits:
            said[kind]["issued"] = method.issue(code, 7).sample(3)
    return place, code, said


@pytest.fixture(scope="module")
def bundle(desk, tmp_path_factory):
    """The bundle, and what `export` printed; everything else of the owner's is gone."""
    from click.testing import CliRunner

    from fpbench.cli.main import cli

    target = tmp_path_factory.mktemp("given") / "given.zip"
    run = str(desk[0] / "run")
    told = {}
    for name, more in (
        ("given.zip", ["--weights"]),
        ("blind.zip", ["--no-readings", "--weights", "-m", "blind"]),
        ("none.zip", ["--no-readings"]),
    ):
        out = str(target.with_name(name))
        done = CliRunner().invoke(cli, ["-p", FAKES, "export", run, "-o", out, *more])
        assert done.exit_code == 0, done.output
        told[name] = done.output
    shutil.move(desk[0] / "photographs", target.parent / "elsewhere")
    shutil.rmtree(desk[0])
    return target, told["given.zip"]


def test_a_bundle_opens_without_run_store_training_or_data(desk, bundle, monkeypatch):
    _, code, said = desk
    monkeypatch.setattr("fpbench.testing.fakes.Perfect.fit", None)
    monkeypatch.setattr("fpbench.testing.fakes.TinyHost.fit", None)
    for kind in KINDS:
        method = fpbench.load(bundle[0], kind, **HERE)
        assert method.facts == said[kind]["facts"]
        assert np.array_equal(method.codes, said[kind]["codes"])
        assert (method.size, method.users) == (32, 3)
        images = said[kind]["copy"]
        if kind != "retrained":
            assert np.array_equal(method.copy(1).sample(3), images)
        if kind != "weighed":
            assert np.array_equal(method.extract(images), said[kind]["read"])
        if method.bits:
            assert np.array_equal(method.issue(code, 7).sample(3), said[kind]["issued"])
    with pytest.raises(SpecError, match="trainings of the host, which a bundle does not"):
        fpbench.load(bundle[0], "retrained", **HERE).copy(1)


def test_samples_are_read_where_they_are_said_to_be(bundle, tmp_path):
    """Few methods need some to issue a copy."""
    away = fpbench.load(bundle[0], "perfect", **HERE)._bench.train_images
    assert len(away) == 16
    with pytest.raises(MissingResource, match=r"samples of image-folder; .*places=..path.: PATH"):
        away.read([0])
    place = bundle[0].with_name("elsewhere")
    there = fpbench.load(bundle[0], "perfect", places={"path": place}, **HERE)
    assert there._bench.train_images.read([0, 3]).shape == (2, 3, 32, 32)
    shutil.copytree(place, tmp_path / "other")
    next((tmp_path / "other").iterdir()).unlink()
    other = fpbench.load(bundle[0], "perfect", places={"path": tmp_path / "other"}, **HERE)
    with pytest.raises(MissingResource, match="got others, with the digest"):
        other._bench.train_images.read([0])


def test_what_it_was_unpacked_into_goes_with_it(bundle):
    method = fpbench.load(bundle[0], "perfect", **HERE)
    place = method._run.store.root
    assert place.is_dir()
    del method
    import gc

    gc.collect()
    assert not place.exists()


def test_what_is_given_is_said(bundle, desk):
    path, told = bundle
    assert "Warning: whoever has these weights can read and forge" in told
    assert "Left out: images of the data set, local paths." in told
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.startswith("weights/")]
        size = sum(archive.getinfo(name).file_size for name in names)
        everything = b"".join(archive.read(name) for name in names)
        card = json.loads(archive.read("weights/card.json"))
    line = next(line for line in told.splitlines() if "trained weights" in line)
    assert line.split()[2:6] == [str(len(names)), "files", f"{size:,}", "bytes"]
    assert str(desk[0].parent).encode() not in everything
    assert [each["label"] for each in card["trainings"]] == list(KINDS)
    assert [bool(each["enrolled"]) for each in card["trainings"]] == [
        kind in ("keyed", "retrained") for kind in KINDS
    ]
    assert all(each["method"]["licence"] for each in card["trainings"])
    assert f"  perfect: {card['trainings'][0]['method']['licence']}" in told
    with zipfile.ZipFile(path.with_name("blind.zip")) as archive:
        files = [name for name in archive.namelist() if name.endswith(".safetensors")]
    assert [n for n in files if n.startswith("weights/")] == [
        "weights/fit-0.safetensors",
        "weights/host.safetensors",
    ]


def test_it_verifies_and_boards_leave_weights_out(bundle, command, tmp_path):
    code, out, err = command("-p", FAKES, "verify", bundle[0])
    assert (code, err) == (0, "")
    assert "Result: RE-SCORED" in out
    assert "note: trained weights are in it" in out
    assert command("-p", FAKES, "board", "add", bundle[0], tmp_path / "board")[0] == 0
    assert not list((tmp_path / "board").rglob("*.safetensors"))


def damaged(path, tmp_path, name, change):
    """The bundle with another file of weights, whose manifest does not know."""
    shutil.unpack_archive(path, tmp_path / "open")
    file = tmp_path / "open" / name
    file.write_bytes(change(file.read_bytes()))
    return packed(tmp_path / "open", tmp_path / "b.zip")


def flipped(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def test_damaged_weights_are_refused_by_name(bundle, tmp_path):
    path = damaged(bundle[0], tmp_path, "weights/fit-0.safetensors", flipped)
    with pytest.raises(StoreError, match=r"weights/fit-0\.safetensors: expected \d+ bytes with"):
        fpbench.load(path, "perfect", **HERE)
    seal(tmp_path / "open")
    (tmp_path / "open" / "weights" / "host.safetensors").write_bytes(b"\x80\x04" + bytes(64))
    with pytest.raises(StoreError, match=r"weights/host\.safetensors: expected safetensors of"):
        fpbench.load(seal(tmp_path / "open"), "perfect", **HERE)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("weights/../../evil.safetensors", b"")
    with pytest.raises(StoreError, match="a way out of its folder"):
        fpbench.load(path, "perfect", **HERE)


def test_weights_that_are_no_weights_are_named(bundle, tmp_path, command):
    from safetensors.numpy import save_file

    shutil.unpack_archive(bundle[0], tmp_path / "open")
    folder = tmp_path / "open" / "weights"
    pictures = {"x": np.zeros((2, 8, 8, 3), np.uint8)}
    save_file(pictures, folder / "fit-1.safetensors")
    code, out, _ = command("-p", FAKES, "verify", seal(tmp_path / "open"))
    assert (code, "expected no images in fit-1.safetensors" in out) == (1, True)
    (folder / "fit-1.safetensors").unlink()
    code, out, _ = command("-p", FAKES, "verify", seal(tmp_path / "open"))
    assert "expected the files that weights/card.json names, got others, e.g. weights/fit-1" in out
    (folder / "card.json").write_text('{"format": 2}')
    code, out, _ = command("-p", FAKES, "verify", seal(tmp_path / "open"))
    assert "weights: expected a card of format 1 in weights/card.json" in out


def test_what_cannot_be_loaded_is_said(bundle, tmp_path):
    none = bundle[0].with_name("none.zip")
    for arguments, error, said in (
        ((none, "perfect"), StoreError, "run `fpbench export RUN -o FILE --weights`"),
        ((bundle[0], "perfekt"), SpecError, "did you mean 'perfect'"),
        ((bundle[0], "perfect", 2), SpecError, r"expected a training seed of .* \(0\), got 2"),
        ((tmp_path / "x.zip", "perfect"), StoreError, "no such file"),
    ):
        with pytest.raises(error, match=said):
            fpbench.load(*arguments, **HERE)
    with pytest.raises(StoreError, match=r"got none"):
        fpbench.load(bundle[0], "perfect", **HERE).readings(0)
    with pytest.raises(SpecError, match=r"unknown method 'perfect'.*; it came with fpbench\.test"):
        fpbench.load(bundle[0], "perfect")
    shutil.unpack_archive(bundle[0], tmp_path / "open")
    card = tmp_path / "open" / "weights" / "card.json"
    told = json.loads(card.read_text())
    told["trainings"][0]["method"]["version"] = "0"
    card.write_text(json.dumps(told))
    with pytest.raises(SpecError, match="expected version 0, which the bundle is of, got 1"):
        fpbench.load(seal(tmp_path / "open"), "perfect", **HERE)


def test_users_are_served_from_a_bundle(bundle, command, tmp_path):
    registry, method = tmp_path / "users.db", f"{bundle[0]}:perfect"
    assert command("users", "init", registry)[0] == 0
    given = ("--user", "Ada", "-o", tmp_path / "copy")
    code, out, err = command("-p", FAKES, "issue", method, "--registry", registry, *given)
    assert (code, err) == (0, "")
    assert "Ada: code 0 of model given:perfect" in out
    (tmp_path / "images").mkdir()
    images = fpbench.load_copy(tmp_path / "copy", **HERE).sample(3)
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
    asked = ("--registry", registry, "--method", method, "--pool", "--false-rate", "0.01")
    code, out, err = command("-p", FAKES, "trace", tmp_path / "images", *asked)
    assert (code, err) == (0, "")
    assert "Ada (active), 16 of 16 bits" in out


def test_scores_are_traced_from_a_bundle_where_the_data_are(bundle, command, tmp_path):
    registry, method = tmp_path / "users.db", f"{bundle[0]}:keyed"
    assert command("users", "init", registry)[0] == 0
    given = ("--user", "Ada", "-o", tmp_path / "copy", "--registry", registry)
    code, _, err = command("-p", FAKES, "issue", method, *given)
    assert (code, err) == (0, "")
    image = fpbench.load_copy(tmp_path / "copy", **HERE).sample(1)[0]
    Image.fromarray(image).save(tmp_path / "a.png")
    asked = ("trace", tmp_path / "a.png", "--registry", registry, "--method", method)
    code, _, err = command("-p", FAKES, *asked)
    assert (code, "samples of image-folder; say where they are: places=" in err) == (7, True), err
    assert "or --place path=PATH" in err
    there = ("--place", f"path={bundle[0].with_name('elsewhere')}", "--false-rate", "0.8")
    code, out, err = command("-p", FAKES, *asked, *there)
    assert (code, err) == (0, "")
    assert out.startswith("a.png: Ada (active), ")

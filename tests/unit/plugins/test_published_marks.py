"""What the adapters do, with stand-ins for their libraries; see test_published_libraries.py."""

import shutil
import stat

import numpy as np
import pytest
from click.testing import CliRunner
from fpbench_published_marks.plugin import fpbench_methods
from pydantic import ValidationError
from tiny_libraries import METHODS, make

from fpbench.api import ContractError, MissingResource, SampleInfo, StageError
from fpbench.cli.main import cli

SUITE = """
[suite]
name = "marks"
[dataset]
use = "toy-faces"
[host]
use = "tiny-host"
[[methods]]
use = "METHOD"
MORE
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Where environments lie."""
    monkeypatch.setenv("FPBENCH_ENVIRONMENTS", str(tmp_path / "environments"))
    return tmp_path / "environments"


@pytest.fixture
def opened(tmp_path):
    """A method with a stand-in, and its program; ended behind the test."""
    programs = []

    def of(name, **params):
        cls = METHODS[name]
        params |= {} if cls.environment.found() else make(name, tmp_path)
        method = cls(cls.Params(**params))
        programs.append(method.program(lambda: None))
        return method, programs[-1]

    yield of
    for program in programs:
        program.close()


def method(name, **params):
    cls = METHODS[name]
    return cls(cls.Params(**params))


def info(size):
    return SampleInfo.of_images(size, {"train": 1000, "test": 100, "reference": 100})


@pytest.mark.parametrize(
    ("name", "params"),
    [
        *(("invisible-watermark", {"variant": v}) for v in ("dwt-dct", "dwt-dct-svd", "rivagan")),
        ("blind-watermark", {}),
        ("trustmark", {}),
        ("videoseal", {}),
    ],
)
def test_images_reach_a_library_as_it_wants_them(opened, name, params):
    made, program = opened(name, **params)
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (3, 3, 48, 48), np.uint8)
    images[:, 0] //= 4  # red is dark, so that channels that changed places show
    code = rng.integers(0, 2, made.bits).astype(bool)
    marked = program.ask("mark", made.bits, (images, code), "uint8", images.shape)
    change = marked.astype(int) - np.round(images * 0.5 + 64)
    assert abs(np.abs(change) - 40).max() <= 1
    read = program.ask("read", made.bits, (marked,), "float32", (3, made.bits))
    assert ((read > 0) == code).all()
    if name != "videoseal":
        assert set(np.unique(read)) == {-1, 1}
    assert program.ask("read", made.bits, (marked[:0],), "float32", (0, made.bits)).size == 0


@pytest.mark.parametrize(
    ("name", "params"),
    [
        *(("invisible-watermark", {"variant": v}) for v in ("dwt-dct", "dwt-dct-svd", "rivagan")),
        ("blind-watermark", {}),
    ],
)
def test_a_mark_is_as_loud_as_is_asked_for(opened, name, params):
    made, program = opened(name, **params)
    _, fainter = opened(name, strength=0.5, **params)
    images = np.random.default_rng(3).integers(0, 256, (3, 3, 48, 48), np.uint8)
    code = np.random.default_rng(4).integers(0, 2, made.bits).astype(bool)
    ask = ("mark", made.bits, (images, code), "uint8", images.shape)
    full, half = program.ask(*ask).astype(float), fainter.ask(*ask).astype(float)
    without = (images + full) / 2 if params.get("variant") == "rivagan" else images * 0.5 + 64
    wanted = 0 if params.get("variant") == "rivagan" else 20
    assert abs(np.abs(half - without) - wanted).max() <= 1
    read = fainter.ask("read", made.bits, (half.astype(np.uint8),), "float32", (3, made.bits))
    assert ((read > 0) == code).all()


def test_a_library_that_dies_says_so_and_other_versions_are_refused(opened, place):
    made, program = opened("blind-watermark")
    images, code = np.zeros((1, 3, 16, 16), np.uint8), np.zeros(32, bool)
    (made.environment.folder / "die").touch()
    with pytest.raises(StageError, match=r"method blind-watermark: .* exit code 3"):
        program.ask("mark", 32, (images, code), "uint8", images.shape)
    (metadata,) = place.glob("*/lib/*/site-packages/numpy-*.dist-info/METADATA")
    metadata.write_text("Name: numpy\nVersion: 1.0\n")
    with pytest.raises(StageError, match=r"expected numpy==\S+ in .*, got 1.0; remove that"):
        program.ask("mark", 32, (images, code), "uint8", images.shape)


def test_what_is_not_there_is_said_with_the_command(tmp_path):
    for name in METHODS:
        assert "run `fpbench prepare SUITE`" in method(name).lacks()
        with pytest.raises(MissingResource, match=f"method {name}: expected the environment"):
            method(name).fit(None, None, None)
    for name, command in (("trustmark", "import TrustMark"), ("videoseal", "curl -LO")):
        brought = make(name, tmp_path)
        assert "expected `weights`, a folder with" in method(name).lacks()
        nowhere = method(name, weights=str(tmp_path / "nowhere")).lacks()
        assert command in nowhere
        assert "nowhere, got no" in nowhere
        assert not method(name, **brought).lacks()


def test_keys_know_versions_programs_and_weights(tmp_path, monkeypatch):
    cls = METHODS["trustmark"]
    brought = make("trustmark", tmp_path)
    before = cls(cls.Params(**brought)).digest()
    (tmp_path / "trustmark-weights" / "encoder_Q.ckpt").write_text("others")
    others = cls(cls.Params(**brought)).digest()
    monkeypatch.setattr(cls, "module", "with_videoseal")
    changed = cls(cls.Params(**brought)).digest()
    monkeypatch.setattr(cls, "environment", METHODS["videoseal"].environment)
    pinned = cls(cls.Params(**brought)).digest()
    assert len({before, others, changed, pinned}) == 4
    shutil.rmtree(cls.environment.folder, ignore_errors=True)
    assert cls(cls.Params(**brought)).digest() == pinned  # a plan needs no environment


@pytest.mark.parametrize(
    ("name", "params", "size", "most"),
    [
        ("invisible-watermark", {}, 32, 16),
        ("invisible-watermark", {"variant": "dwt-dct-svd", "bits": 65}, 64, 64),
        ("blind-watermark", {"bits": 64}, 64, 63),
    ],
)
def test_more_bits_than_blocks_are_refused(name, params, size, most):
    assert f"expected at most {most} bits" in method(name, **params).objection(info(size), 1)
    assert not method(name, **{**params, "bits": most}).objection(info(size), 1)


def test_a_trained_network_has_its_own_bits():
    assert not method("invisible-watermark", variant="rivagan").objection(info(16), 1)
    for name, params in (
        ("invisible-watermark", {"variant": "rivagan", "bits": 16}),
        ("trustmark", {"bits": 61}),
        ("videoseal", {"bits": 96}),
    ):
        with pytest.raises(ValidationError):
            method(name, **params)


def test_all_are_opaque_and_train_nothing():
    assert all(m.opaque and not m.trains and not m.uses_host for m in fpbench_methods())


UV = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
[ "$1 $EXIT" = "pip 1" ] && echo "no such version" >&2 && exit 1
[ "$1" = venv ] && mkdir -p "$5/bin" && touch "$5/bin/python"
exit 0
"""


def test_prepare_makes_environments_once_and_says_why_it_cannot(tmp_path, monkeypatch, place):
    (tmp_path / "suite.toml").write_text(
        SUITE.replace("METHOD", "blind-watermark").replace("MORE", "")
    )
    uv = tmp_path / "tools" / "uv"
    uv.parent.mkdir()
    uv.write_text(UV)
    uv.chmod(uv.stat().st_mode | stat.S_IXUSR)
    arguments = ["-p", "fpbench.testing.fakes", "prepare", str(tmp_path / "suite.toml")]

    def prepare(*more, code):
        done = CliRunner().invoke(cli, [*arguments, *more])
        assert done.exit_code == code, done.output
        return done.output

    monkeypatch.setenv("PATH", str(uv.parent))
    assert "expected uv to make it" not in prepare("--list", code=7)
    monkeypatch.setenv("PATH", "")
    assert "expected uv to make it with, got none on the path" in prepare(code=7)
    monkeypatch.setenv("PATH", f"{uv.parent}:/usr/bin:/bin")
    monkeypatch.setenv("EXIT", "1")
    assert "got exit code 1: no such version; run `fpbench prepare" in prepare(code=7)
    monkeypatch.setenv("EXIT", "0")
    for _ in range(2):
        assert "ready    method blind-watermark: " in prepare(code=0)
    asked = (uv.parent / "asked").read_text().splitlines()
    assert len(asked) == 4
    assert asked[-1].endswith(" ".join(METHODS["blind-watermark"].environment.pins))
    (folder,) = place.iterdir()
    assert "opencv-python ;" in (folder / "dropped.txt").read_text()


def test_a_plan_says_what_is_missing(tmp_path):
    (tmp_path / "suite.toml").write_text(
        SUITE.replace("METHOD", "blind-watermark").replace("MORE", "bits = 8")
    )
    arguments = ["-p", "fpbench.testing.fakes", "plan", str(tmp_path / "suite.toml")]
    done = CliRunner().invoke(cli, arguments)
    assert "unavailable: method blind-watermark: expected the environment" in done.output


def test_an_answer_of_another_shape_breaks_the_contract(opened):
    _, program = opened("blind-watermark")
    images, code = np.zeros((1, 3, 16, 16), np.uint8), np.zeros(32, bool)
    with pytest.raises(ContractError, match="expected float32"):
        program.ask("mark", 32, (images, code), "float32", images.shape)

"""The adapters and their libraries called directly, where `fpbench prepare` has made environments.

They are looked for in $FPBENCH_ENVIRONMENTS or in the user's cache; nothing is fetched.
"""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from fpbench_published_marks.environments import environments_folder
from fpbench_published_marks.plugin import fpbench_methods

from fpbench.builtin.toy_speech.dataset import ToySpeech

METHODS = {method.name: method for method in fpbench_methods()}
PLACE = environments_folder()  # before tests are given a home of their own
DIRECT = Path(__file__).with_name("published_libraries.py")
CASES = [
    ("invisible-watermark", "dwt-dct", "dwtDct", 128),
    ("invisible-watermark", "dwt-dct", "dwtDct", 256),
    ("invisible-watermark", "dwt-dct-svd", "dwtDctSvd", 128),
    ("invisible-watermark", "dwt-dct-svd", "dwtDctSvd", 256),
    ("invisible-watermark", "rivagan", "rivaGan", 128),
    ("invisible-watermark", "rivagan", "rivaGan", 256),
    ("blind-watermark", "", "", 128),
    ("trustmark", "Q", "", 128),
    ("videoseal", "", "", 128),
]


def images(size, count=100):
    """Half noise, half gradients with a little of it."""
    rng = np.random.default_rng(size)
    noise = rng.integers(0, 256, (count // 2, 3, size, size))
    slopes = rng.normal(0, 1, (count - count // 2, 3, 2))
    grid = np.stack(np.meshgrid(*[np.linspace(-60, 60, size)] * 2))
    smooth = 128 + np.einsum("nck,khw->nchw", slopes, grid)
    smooth += rng.normal(0, 3, smooth.shape)
    return np.concatenate([noise, smooth.clip(0, 255)]).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # networks on one thread
@pytest.mark.parametrize(("name", "variant", "kind", "size"), CASES)
def test_an_adapter_agrees_with_its_library_bit_for_bit(
    name, variant, kind, size, tmp_path, monkeypatch
):
    monkeypatch.setenv("FPBENCH_ENVIRONMENTS", str(PLACE))
    cls = METHODS[name]
    if not cls.environment.found():
        pytest.skip(f"{cls.environment.folder} is not there: run `fpbench prepare SUITE`")
    weights = tmp_path / "weights"
    weights.mkdir()
    params = {"weights": str(weights)} if name in ("trustmark", "videoseal") else {}
    method = cls(cls.Params(**params, **({"variant": variant} if variant else {})))
    given = images(size)
    codes = np.random.default_rng(7).integers(0, 2, (len(given), method.bits)).astype(bool)
    np.savez(tmp_path / "in.npz", images=given, codes=codes)
    command = [cls.environment.python, "-E", "-s", DIRECT, f"{name}:{kind}"]
    command += [tmp_path / "in.npz", tmp_path / "out.npz", weights]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    direct = np.load(tmp_path / "out.npz")
    assert not method.lacks()
    program = method.program(lambda: None)
    try:
        marked = np.concatenate(
            [
                program.ask("mark", method.bits, (image[None], code), "uint8", (1, *image.shape))
                for image, code in zip(given, codes, strict=True)
            ]
        )
        shape = (len(given), method.bits)
        read = program.ask("read", method.bits, (marked,), "float32", shape)
    finally:
        program.close()
    assert (marked == direct["marked"]).all()
    assert (read == direct["read"]).all()
    assert (marked != given).any()


@pytest.mark.slow
@pytest.mark.timeout(1800)  # one of them optimises every sound
@pytest.mark.parametrize(("name", "count"), [("perth", 20), ("aware", 2)])
def test_an_adapter_of_sounds_agrees_with_its_library_bit_for_bit(
    name, count, tmp_path, monkeypatch
):
    monkeypatch.setenv("FPBENCH_ENVIRONMENTS", str(PLACE))
    cls = METHODS[name]
    if not cls.environment.found():
        pytest.skip(f"{cls.environment.folder} is not there: run `fpbench prepare SUITE`")
    method, columns = cls(cls.Params()), cls(cls.Params()).bits or 1
    given = ToySpeech(ToySpeech.Params()).read("test", np.arange(count))
    codes = np.random.default_rng(7).integers(0, 2, (count, method.bits)).astype(bool)
    np.savez(tmp_path / "in.npz", sounds=given[:, 0], codes=codes)
    direct = Path(__file__).with_name("published_sounds.py")
    command = [cls.environment.python, "-E", "-s", direct, name]
    command += [tmp_path / "in.npz", tmp_path / "out.npz"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npz")
    program = method.program(lambda: None)
    try:
        marked = np.concatenate(
            [
                program.ask("mark", method.bits, (one[None], code), "int16", (1, *one.shape), 8000)
                for one, code in zip(given, codes, strict=True)
            ]
        )
        shape = (count, columns)
        read = program.ask("read", columns, (marked,), "float32", shape, 8000)
    finally:
        program.close()
    assert (marked[:, 0] == found["marked"]).all()
    assert (read == found["numbers"]).all()
    assert (marked != given).any()

"""What the adapters of sounds do, with stand-ins for their libraries."""

import numpy as np
import pytest
from fpbench_published_marks.sounds import METHODS as OF_SOUNDS
from tiny_libraries import make

from fpbench.api import Gives, SampleInfo

RATE = 8000
METHODS = {method.name: method for method in OF_SOUNDS}


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.setenv("FPBENCH_ENVIRONMENTS", str(tmp_path / "environments"))


@pytest.fixture
def opened(tmp_path):
    """A method with a stand-in, and its program; ended behind the test."""
    programs = []

    def of(name):
        cls = METHODS[name]
        method = cls(cls.Params(**make(name, tmp_path)))
        programs.append(method.program(lambda: None))
        return method, programs[-1]

    yield of
    for program in programs:
        program.close()


def info(length, rate=RATE):
    counts = {"train": 1000, "test": 100, "reference": 100}
    return SampleInfo("audio", (1, length), "int16", counts, rate)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_sounds_reach_a_library_as_it_wants_them(opened, name):
    method, program = opened(name)
    assert not method.lacks()
    rng = np.random.default_rng(3)
    sounds = rng.integers(-(2**15), 2**15, (3, 2, 960), np.int16)
    code = rng.integers(0, 2, method.bits).astype(bool)
    asked = sounds, code
    marked = program.ask("mark", method.bits, asked, "int16", sounds.shape, RATE)
    kept = 960 - 5 if name == "perth" else 960
    change = marked[..., :kept] - sounds[..., :kept] * 0.5
    assert np.abs(np.abs(change) - 2**13).max() <= 1
    assert (marked[..., kept:] == sounds[..., kept:]).all()
    columns = method.bits or 1
    shape = (3, columns)
    read = program.ask("read", columns, (marked,), "float32", shape, RATE)
    if method.gives is Gives.PRESENCE:
        assert np.allclose(read, 0.4)
        louder = program.ask("read", 1, (-marked,), "float32", shape, RATE)
        assert np.allclose(louder, -0.4)
    else:
        assert ((read > 0) == code).all()
        assert (read != 0).all()


@pytest.mark.parametrize("name", ["aware", "wavmark", "silentcipher"])
def test_silence_is_left_alone_and_reads_as_nothing(opened, name):
    method, program = opened(name)
    silent = np.zeros((1, 1, 960), np.int16)
    if name == "aware":
        asked = silent, np.ones(method.bits, bool)
        assert not program.ask("mark", method.bits, asked, "int16", silent.shape, RATE).any()
    shape = (1, method.bits)
    assert not program.ask("read", method.bits, (silent,), "float32", shape, RATE).any()


def test_each_says_what_it_lacks_and_how_to_get_it(tmp_path):
    def lacks(name, **params):
        return METHODS[name](METHODS[name].Params(**params)).lacks()

    assert all("run `fpbench prepare SUITE`" in lacks(name) for name in METHODS)
    for name, how in (
        ("audioseal", "curl -L -O https://huggingface.co/facebook/audioseal"),
        ("wavmark", "curl -LO https://huggingface.co/M4869/WavMark"),
        ("silentcipher", "hf download sony/silentcipher"),
    ):
        made = make(name, tmp_path)
        assert how in lacks(name)
        assert how in lacks(name, weights=str(tmp_path))
        assert not lacks(name, **made)


def test_all_are_opaque_and_of_sounds_alone():
    assert all(m.opaque and not m.trains and m.modalities == {"audio"} for m in OF_SOUNDS)
    assert METHODS["perth"].gives is Gives.PRESENCE


def test_short_sounds_are_refused_where_the_library_would():
    method = METHODS["wavmark"](METHODS["wavmark"].Params())
    assert "expected sounds of at least 1.1 seconds" in method.objection(info(4096), 1)
    assert not method.objection(info(8800), 1)

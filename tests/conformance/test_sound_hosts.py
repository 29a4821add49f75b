"""Methods that read sounds, on the host that draws them."""

import pytest

from fpbench.registry import load
from fpbench.testing.conformance import check_method

LENGTH = 2048
TINY = {
    "wouaf": [
        {"carrier": "low-rank"},
        {"carrier": "amplitude", "hardened": "mild"},
        {"carrier": "demodulated", "reading": "retrained", "tuned": 2, "retraining_steps": 2},
    ]
}


def component(kind, name, **params):
    cls = load().component(kind, name)
    return cls(cls.Params(**params))


@pytest.fixture(scope="module")
def host():
    tiny = {"bands": 16, "components": 12, "channels": 4, "steps": 2, "batch": 4, "sounds": 64}
    return component("hosts", "mel-decoder", **tiny)


@pytest.fixture(scope="module")
def speech():
    return component("datasets", "toy-speech", length=LENGTH, train=64, test=16, reference=16)


@pytest.mark.parametrize(
    ("name", "params"), [(name, params) for name, several in TINY.items() for params in several]
)
def test_methods_for_sounds_keep_the_contract(name, params, host, speech, tmp_path):
    common = {"bits": 8, "steps": 2, "whole_batch": 15, "reader_channels": 8, "photographs": 16}
    method = component("methods", name, **(common | params))
    assert not method.objection(speech.info(), 4)
    result = check_method(method, tmp_path, host=host, dataset=speech)
    assert result.leaked == ()
    assert not result.sealed


def test_who_does_not_read_sounds_says_so():
    catalogue = load()
    reading = {
        name
        for name in catalogue.names("methods")
        if "audio" in catalogue.component("methods", name).modalities
    }
    assert reading >= set(TINY)
    assert "scalable-gan" not in reading

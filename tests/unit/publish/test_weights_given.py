"""Which trained states a bundle may hold, and what its card says of them."""

from types import SimpleNamespace

import numpy as np
import pytest

from fpbench.api import SpecError, StoreError
from fpbench.publish import weights
from fpbench.registry import load
from fpbench.store import Store

KEY = "a" * 64


@pytest.fixture(scope="module")
def catalogue():
    return load()


def made(catalogue, kind, name, **params):
    cls = catalogue.component(kind, name)
    return cls(cls.Params(**params))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"latents": np.zeros((2, 4, 8, 8), np.float32)}, "one that keeps latents of the data set"),
        ({"x": np.zeros((2, 8, 8, 3), np.uint8)}, "got one with images"),
    ],
)
def test_samples_of_the_data_set_are_no_weights(tmp_path, arrays, said):
    store = Store(tmp_path, lasting=False)
    store.put(KEY, arrays, {})
    with pytest.raises(SpecError, match=f"host x: expected a state of weights, .*{said}"):
        weights._write(tmp_path / "x.safetensors", store, KEY, "host x")


def test_pictures_and_what_a_suite_runs_are_not_given(catalogue):
    host = made(catalogue, "hosts", "photographs")
    plan = SimpleNamespace(suite=SimpleNamespace(host=host))
    with pytest.raises(SpecError, match=r"host photographs: .*one whose state is samples"):
        weights._check_host(plan)
    foreign = made(catalogue, "methods", "foreign", bits=8, folder="x", command=("run",))
    own = made(catalogue, "methods", "hidden")
    fits = [
        SimpleNamespace(method=SimpleNamespace(label=each.name, component=each))
        for each in (foreign, own)
    ]
    plan = SimpleNamespace(fits=fits)
    assert weights._chosen(plan, []) == fits[1:]
    with pytest.raises(SpecError, match=r"foreign: .*one that runs the suite's `command`"):
        weights._chosen(plan, ["hidden", "foreign"])
    with pytest.raises(SpecError, match="unknown method 'hiden'; did you mean 'hidden'"):
        weights._chosen(plan, ["hiden"])


def test_the_card_says_what_lies_outside(catalogue):
    host = made(catalogue, "hosts", "latent-diffusion", autoencoder="/home/me/secret/vae")
    told = weights._made("hosts", host, catalogue)
    assert "secret" not in told.model_dump_json()
    assert told.outside.startswith("autoencoder vae: under a licence of its own")
    assert "not included" in told.outside
    assert told.licence == host.card.licence
    assert weights._made("methods", made(catalogue, "methods", "hidden"), catalogue).outside == ""


def test_a_card_names_files_of_weights_alone():
    with pytest.raises(
        StoreError, match=r"a card of format 1 in weights/card\.json, got host: Field"
    ):
        weights.parsed_card(b'{"host_key": "x", "trainings": []}')
    made = {"name": "x", "version": "1", "params": {}, "digest": "", "distribution": ""}
    made |= {"licence": "", "outside": ""}
    training = {"label": "x", "seed": 0, "method": made, "key": KEY, "training": KEY}
    card = {"host": made, "host_key": KEY, "trainings": [training | {"state": "../x.safetensors"}]}
    from fpbench.api import canonical_json

    with pytest.raises(StoreError, match=r"got trainings\.0\.state: String should match pattern"):
        weights.parsed_card(canonical_json(card).encode())

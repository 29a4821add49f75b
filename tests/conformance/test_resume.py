import pytest
import torch

from fpbench.api import TrainedHost
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.registry import load
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store

KEY = "34" * 32
HOST = {"channels": 16, "embedding_dim": 16, "batch": 8, "latent_dim": 16}
FULL = {"architecture": "stylegan2", "channel_base": 256, "mapping_layers": 2, "path_weight": 2.0}
STEPS = {
    "scalable-gan": {"bits": 8, "channels": 16, "pair_steps": 3, "joint_steps": 3, "batch": 8},
    "weight-modulation": {"bits": 8, "steps": 4, "batch": 8},
    "hidden": {"bits": 8, "channels": 8, "steps": 4, "batch": 12},
    "passive-detector": {"channels": 8, "steps": 4, "batch": 8},
}


@pytest.fixture(autouse=True)
def _checkpoint_every_step(monkeypatch):
    monkeypatch.setattr(StageContext, "checkpoint_due", lambda self: True)


@pytest.fixture
def images():
    faces = ToyFaces(ToyFaces.Params(train=64))
    return SplitStream(faces, "train", torch.device("cpu"))


def component(kind, name, **params):
    cls = load().component(kind, name)
    return cls(cls.Params(**params))


def context(store, stop_after=None, bits=0, precision="fp32"):
    calls = iter(range(10**6))

    def progress(done, total, text):
        if stop_after is not None and next(calls) == stop_after:
            raise KeyboardInterrupt

    return StageContext(
        torch.device("cpu"),
        (0, "fit", 0),
        store,
        key=KEY,
        bits=bits,
        on_progress=progress,
        precision=precision,
    )


def same_after_a_stop(fit, tmp_path, bits):
    whole = fit(context(Store(tmp_path / "whole"), bits=bits))
    for stop_after in (1, 4):
        store = Store(tmp_path / f"cut-{stop_after}")
        try:
            fit(context(store, stop_after, bits=bits))
        except KeyboardInterrupt:
            pass
        else:
            assert stop_after > 1  # a short training may have ended before the second stop
        resumed = fit(context(store, bits=bits))
        assert whole.keys() == resumed.keys()
        for name, tensor in whole.items():
            assert torch.equal(tensor, resumed[name]), name


@pytest.mark.parametrize(
    "params",
    [{"pair_steps": 3}, {**FULL, "pair_steps": 0, "style_mixing": 0.9}],
    ids=["compact", "stylegan2"],
)
def test_the_host_resumes_bit_by_bit(params, images, tmp_path):
    host = component("hosts", "stylegan2", **HOST, **params, adversarial_steps=5)
    same_after_a_stop(lambda ctx: host.fit(images, ctx), tmp_path, 0)


def test_scalable_gan_of_the_papers_shape_resumes_bit_by_bit(images, tmp_path):
    host = component("hosts", "stylegan2", **HOST, **FULL, pair_steps=0, adversarial_steps=1)
    ctx = context(Store(tmp_path / "host"))
    state = host.fit(images, ctx)
    trained = TrainedHost(host, state, host.assemble(state, ctx))
    method = component(
        "methods",
        "scalable-gan",
        bits=8,
        **FULL,
        channels=16,
        embedding_dim=16,
        pair_steps=0,
        joint_steps=5,
        batch=8,
        immunise="combination",
        immunise_from=0.0,
    )
    same_after_a_stop(lambda c: method.fit(trained, images, c), tmp_path, 8)


@pytest.mark.parametrize("name", sorted(STEPS))
def test_methods_resume_bit_by_bit(name, images, tmp_path):
    host = component("hosts", "stylegan2", **HOST, pair_steps=2, adversarial_steps=1)
    ctx = context(Store(tmp_path / "host"))
    state = host.fit(images, ctx)
    trained = TrainedHost(host, state, host.assemble(state, ctx))
    method = component("methods", name, **STEPS[name])
    same_after_a_stop(lambda c: method.fit(trained, images, c), tmp_path, 8)


@pytest.mark.parametrize("name", sorted(STEPS))
def test_methods_train_in_16_bits_and_keep_their_weights_in_32(name, images, tmp_path):
    host = component("hosts", "stylegan2", **HOST, pair_steps=2, adversarial_steps=1)
    ctx = context(Store(tmp_path), precision="bf16")
    state = host.fit(images, ctx)
    trained = TrainedHost(host, state, host.assemble(state, ctx))
    method = component("methods", name, **STEPS[name])
    fitted = {}
    for precision in ("fp32", "bf16"):
        place = Store(tmp_path / precision)
        fitted[precision] = method.fit(trained, images, context(place, bits=8, precision=precision))
    pairs = [(fitted["fp32"][key], fitted["bf16"][key]) for key in fitted["fp32"]]
    floats = [(a, b) for a, b in pairs if a.is_floating_point()]
    assert {b.dtype for _, b in floats} == {torch.float32}
    assert any(not torch.equal(a, b) for a, b in floats)
    assert all(torch.allclose(a, b, atol=0.05) for a, b in floats)


def test_the_papers_shape_trains_in_16_bits(images, tmp_path):
    """Noise inputs, mixing, both regularisers and every perturbation, as the large suites do."""
    host = component(
        "hosts", "stylegan2", **HOST, **FULL, pair_steps=0, adversarial_steps=5, style_mixing=0.9
    )
    ctx = context(Store(tmp_path / "host"), precision="bf16")
    state = host.fit(images, ctx)
    trained = TrainedHost(host, state, host.assemble(state, ctx))
    sizes = {"channels": 16, "embedding_dim": 16, "pair_steps": 0, "joint_steps": 5, "batch": 8}
    method = component(
        "methods",
        "scalable-gan",
        bits=8,
        **FULL,
        **sizes,
        immunise="combination",
        immunise_from=0.0,
    )
    fitted = {}
    for precision in ("fp32", "bf16"):
        place = Store(tmp_path / precision)
        fitted[precision] = method.fit(trained, images, context(place, bits=8, precision=precision))
    for own in (state, fitted["bf16"]):
        floats = [tensor for tensor in own.values() if tensor.is_floating_point()]
        assert {tensor.dtype for tensor in floats} == {torch.float32}
        assert all(torch.isfinite(tensor).all() for tensor in floats)
    # The code's way into the image: rounding changes it, and by no more than its few steps.
    key = "generator.synthesis.convs.0.affine.weight"
    assert 0 < (fitted["bf16"][key] - fitted["fp32"][key]).abs().max() < 0.02

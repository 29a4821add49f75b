import itertools

import numpy as np
import pytest
import torch
from fpbench_stable_signature import extracting
from fpbench_stable_signature.copies import entries
from fpbench_stable_signature.plugin import StableSignature
from test_pieces import assert_pieces_and_devices_agree
from torch import nn

from fpbench.api import Evidence, Offer, SampleInfo, TrainedHost, User
from fpbench.api.images import to_float, to_uint8
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.nn.generator import ChainGenerator
from fpbench.nn.image_quality import psnr
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store
from fpbench.testing.fakes import TinyHost
from fpbench.training.marks import whiten

CPU = torch.device("cpu")
BITS, IMAGES = 8, 64


class Shifted(nn.Module):
    """A step that can hold any mark."""

    def __init__(self, step):
        super().__init__()
        self.step = step
        self.shift = nn.Parameter(torch.zeros(3, 32, 32))

    def forward(self, latents):
        return self.step(latents) + self.shift


class Halved(nn.Module):
    def forward(self, latents):
        return latents / 2


class Mirror(nn.Module):
    def forward(self, images):
        return images.flip(3)


def method(**params):
    sizes = {"bits": BITS, "channels": 16, "depth": 2, "embedder_depth": 1, "patch": 4, "places": 4}
    trainings = {"batch": 16, "steps": 60, "learning_rate": 5e-3, "strength": 1.0}
    tuning = {"tuning_steps": 40, "tuning_batch": 8, "tuning_learning_rate": 3e-2, "warmup": 5}
    return StableSignature(StableSignature.Params(**{**sizes, **trainings, **tuning, **params}))


def context(place, *root, key="", progress=None, **settings):
    store = Store(place)
    return StageContext(
        CPU, (0, *root), store, key=key, bits=BITS, on_progress=progress, **settings
    )


def user(index):
    return User(index, torch.arange(BITS) % (index + 2) == 0)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Networks this small gain nothing from threads, and lose much where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images():
    return SplitStream(ToyFaces(ToyFaces.Params(train=128)), "train", CPU)


@pytest.fixture(scope="module")
def host(images, tmp_path_factory):
    tiny = TinyHost(TinyHost.Params(steps=20))
    ctx = context(tmp_path_factory.mktemp("host"), "host")
    state = tiny.fit(images, ctx)
    generator = tiny.assemble(state, ctx)
    step = Shifted(generator.steps[generator.output])
    return TrainedHost(tiny, state, generator.replace(generator.output, step))


@pytest.fixture(scope="module")
def fitted(images, tmp_path_factory):
    return method().fit(None, images, context(tmp_path_factory.mktemp("fit"), "fit"))


@pytest.fixture(scope="module")
def issued(host, images, fitted, tmp_path_factory):
    place = tmp_path_factory.mktemp("issue")
    return [
        method().issue(fitted, host, user(index), images, context(place, "issue", index))
        for index in range(2)
    ]


def logits(state, some):
    return method().extract(state, None, Evidence(some), None)


def right(state, some, code):
    return float(((logits(state, some) > 0) == code).float().mean())


def test_on_the_images_it_was_whitened_on_bits_are_centred_and_uncorrelated(fitted, images):
    found = logits(fitted, images.read(range(len(images)))).numpy().astype(np.float64)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.eye(BITS), atol=1e-3)


def test_whitening_is_that_of_the_principal_components_and_changes_one_layer(images):
    some = images.read(range(100))
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        extractor = extracting.build(method().params).eval()
    before = {name: tensor.clone() for name, tensor in extractor.state_dict().items()}
    raw = extractor(to_float(some)).detach().double().numpy()
    whiten(extractor, some.split(33))
    found = extractor(to_float(some)).detach().double().numpy()
    changed = [k for k, t in extractor.state_dict().items() if not torch.equal(t, before[k])]
    assert changed == ["out.weight", "out.bias"]
    # The left singular vectors of centred readings are their whitened components.
    left, _, _ = np.linalg.svd(raw - raw.mean(0), full_matrices=False)
    overlap = np.abs(left.T @ found[:, ::-1]) / np.sqrt(len(some))
    np.testing.assert_allclose(overlap, np.eye(BITS), atol=0.02)


def test_of_whitened_components_those_that_are_asked_for_are_kept(images):
    some = images.read(range(100))
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        whole, cut = (extracting.build(method().params).eval() for _ in range(2))
    cut.load_state_dict(whole.state_dict())
    whiten(whole, [some])
    whiten(cut, [some], slice(2, 5))
    seen = to_float(some)
    torch.testing.assert_close(cut(seen), whole(seen)[:, 2:5])


def test_copies_read_as_their_own_code_and_draw_what_the_host_draws(host, fitted, issued):
    latents = host.generator.prior(range(IMAGES))
    unmarked = host.generator.sample(latents)
    drawn = []
    for index, own in enumerate(issued):
        copy = method().assemble(fitted, host, own, None)
        drawn.append(copy.sample(latents))
        assert right(fitted, drawn[-1], user(index).code) > 0.95
        assert psnr(drawn[-1], unmarked).mean() > 24
    assert not torch.equal(drawn[0], drawn[1])
    codes = [user(index).code for index in range(2)]
    assert right(fitted, drawn[0], codes[1]) < 1 - 0.9 * float(
        (codes[0] != codes[1]).float().mean()
    )
    assert right(fitted, unmarked, codes[0]) < 0.8


def test_likeness_keeps_the_images(host, images, fitted, tmp_path):
    def change(weight):
        ctx = context(tmp_path / str(weight), "issue")
        own = method(likeness_weight=weight).issue(fitted, host, user(0), images, ctx)
        copy = method().assemble(fitted, host, own, None)
        latents = copy.prior(range(IMAGES))
        with torch.no_grad():
            shift = copy.run(latents) - host.generator.run(latents)
        return float(shift.square().mean())

    assert change(100.0) < 0.8 * change(1.0)


def test_a_copy_has_the_hosts_tensors_alone_and_neither_code_nor_extractor(host, fitted, issued):
    assert all(name.startswith("extractor.") for name in fitted)  # the embedder is gone
    generator = host.generator
    own = {name: t.shape for name, t in generator.steps[generator.output].state_dict().items()}
    for each in issued:
        assert {name.removeprefix("step."): t.shape for name, t in each.items()} == own
        packed = method().pack(method().assemble(fitted, host, each, None))
        assert packed.keys() == method().pack(generator).keys()
        for tensor in packed.values():
            assert not any(torch.equal(tensor, other) for other in fitted.values())


def test_neither_host_nor_extractor_learn(host, images, fitted, tmp_path):
    kept = [dict(host.generator.steps["generator"].state_dict()), fitted]
    before = [{name: t.clone() for name, t in state.items()} for state in kept]
    method(tuning_steps=2).issue(fitted, host, user(0), images, context(tmp_path, "issue"))
    for state, old in zip(kept, before, strict=True):
        assert all(torch.equal(t, old[name]) for name, t in state.items())
        assert not any(t.grad is not None for t in state.values() if t.is_leaf)


@pytest.mark.parametrize("what", ["fit", "issue"])
def test_what_was_stopped_goes_on_bit_by_bit(what, host, images, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(StageContext, "checkpoint_due", lambda self: True)
    plugin = method(steps=6, tuning_steps=6)

    def made(place, stop_after=None):
        calls = itertools.count()

        def progress(done, total, text):
            if stop_after is not None and next(calls) == stop_after:
                raise KeyboardInterrupt

        ctx = context(place, what, key="78" * 32, progress=progress)
        if what == "fit":
            return plugin.fit(None, images, ctx)
        return plugin.issue(fitted, host, user(1), images, ctx)

    whole = made(tmp_path / "whole")
    for stop_after in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "cut", stop_after)
    resumed = made(tmp_path / "cut")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_it_trains_in_16_bits_and_keeps_its_weights_in_32(host, images, fitted, tmp_path):
    plugin, kept = method(steps=4, tuning_steps=4), {}
    for precision in ("fp32", "bf16"):
        ctx = context(tmp_path / precision, "any", precision=precision)
        state = plugin.fit(None, images, ctx) | plugin.issue(fitted, host, user(0), images, ctx)
        kept[precision] = state
    assert {tensor.dtype for tensor in kept["bf16"].values() if tensor.is_floating_point()} == {
        torch.float32
    }
    # The whitened layer is left out: of an extractor that has learnt little it is all rounding.
    pairs = [
        (kept["fp32"][name], kept["bf16"][name]) for name in kept["fp32"] if "out." not in name
    ]
    assert any(not torch.equal(a, b) for a, b in pairs)
    assert all(torch.allclose(a, b, atol=0.1) for a, b in pairs)


def test_a_copy_learns_the_same_from_every_cut(host, images, fitted, monkeypatch, tmp_path):
    plugin = method(tuning_steps=1, tuning_batch=12)
    assert_pieces_and_devices_agree(
        lambda ctx: plugin.issue(fitted, host, user(0), images, ctx), 12, monkeypatch, tmp_path
    )


class Encoding(TinyHost):
    """A host whose output step is not its first, and which encodes images as what goes into it."""

    offers = frozenset({Offer.ENCODE, Offer.WEIGHTS})

    def encode(self, state, samples, ctx, step=None):
        assert step == "generator"
        return to_float(samples).mean((2, 3)).repeat(1, 3)[:, :8]


def staged(host, cls):
    steps = {"front": Halved(), **host.generator.steps, "behind": Mirror()}
    generator = ChainGenerator(steps, 8, CPU)
    return TrainedHost(cls(cls.Params()), host.state, _Staged(generator))


class _Staged(ChainGenerator):
    def __init__(self, chain):
        super().__init__(chain.steps, 8, CPU)

    @property
    def output(self):
        return "generator"

    def replace(self, name, step, *, after=None):
        return _Staged(super().replace(name, step, after=after))


def test_latents_are_those_of_images_where_something_comes_before_them(host, images, tmp_path):
    def found(shown):
        rng = torch.Generator().manual_seed(3)
        return entries(shown, 5, images, rng, context(tmp_path))

    chosen = torch.randint(len(images), (5,), generator=torch.Generator().manual_seed(3))
    encoded = to_float(images.read(chosen.numpy())).mean((2, 3)).repeat(1, 3)[:, :8]
    assert torch.equal(found(staged(host, Encoding)), encoded)

    class Deaf(TinyHost):
        offers = frozenset({Offer.WEIGHTS})

    normal = found(host)  # its output step takes what the prior draws
    assert normal.shape == (5, 8)
    seeds = torch.randint(2**62, (5,), generator=torch.Generator().manual_seed(3)).tolist()
    assert torch.equal(found(staged(host, Deaf)), host.generator.prior(seeds) / 2)


@pytest.mark.parametrize("cls", [Encoding, TinyHost])
def test_what_stands_around_the_output_step_runs_as_it_is(cls, host, images, fitted, tmp_path):
    shown = staged(host, cls)
    own = method().issue(fitted, shown, user(0), images, context(tmp_path, "issue"))
    copy = method().assemble(fitted, shown, own, None)
    assert list(copy.steps) == ["front", "generator", "behind"]
    latents = entries(shown, IMAGES, images, torch.Generator().manual_seed(1), context(tmp_path))
    drawn = to_uint8(copy.run(latents, first="generator"))
    assert right(fitted, drawn, user(0).code) > 0.95


def test_images_that_do_not_divide_and_too_few_to_whiten_on_are_refused():
    def objection(size, train=1000, **params):
        plugin = StableSignature(StableSignature.Params(**params))
        return plugin.objection(SampleInfo.of_images(size, {"train": train}), 10**6)

    assert objection(64) == objection(256, patch=1, places=1, bits=48) == ""
    assert "multiple of 16 pixels, got 36" in objection(36)
    assert "multiple of 2 pixels, got 33" in objection(33, patch=1, places=1)
    assert "got 32 for 32 bits" in objection(64, train=32)
    assert "got 16 for 32 bits" in objection(64, whitened=16)

from types import SimpleNamespace

import pytest
import torch
from fpbench_decentralized.keys import fit as learn_keys
from fpbench_decentralized.keys import scores
from fpbench_decentralized.robust import distort
from torch import nn

from fpbench.api import ContractError, Evidence, SampleInfo, TrainedHost, User
from fpbench.api.images import to_float
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.nn.draws import Draws
from fpbench.registry import load
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.stats import attributability
from fpbench.store import Store
from fpbench.testing.fakes import TinyHost

CPU = torch.device("cpu")
USERS, IMAGES = 3, 64


class Shifted(nn.Module):
    """A step that can hold any mark."""

    def __init__(self, step):
        super().__init__()
        self.step = step
        self.shift = nn.Parameter(torch.zeros(3, 32, 32))

    def forward(self, latents):
        return self.step(latents) + self.shift


def method(**params):
    cls = load().component("methods", "decentralized")
    keys = {"keys": USERS, "samples": 128, "key_steps": 30, "key_learning_rate": 3e-3}
    copies = {"key_batch": 32, "batch": 8, "judged": 64, "learning_rate": 1e-2}
    return cls(cls.Params(**{**keys, **copies, **params}))


def context(tmp_path, *root, key=None, progress=None):
    place = Store(tmp_path)
    return StageContext(CPU, (0, *root), place, key=key, on_progress=progress)


def user(index):
    return User(index, torch.zeros(0, dtype=torch.bool))


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
def fitted(host, images, tmp_path_factory):
    return method().fit(host, images, context(tmp_path_factory.mktemp("fit"), "fit"))


def test_keys_are_orthogonal_units_on_the_far_side_of_all_images(fitted, images):
    keys = fitted["keys"].flatten(1)
    products = keys @ keys.T
    assert torch.allclose(products.diagonal(), torch.ones(USERS), atol=1e-5)
    assert (products - torch.eye(USERS)).max() < 0.02
    found = scores(to_float(images.read(range(128))), fitted["keys"])
    assert (found < 0).float().mean() > 0.99
    assert torch.allclose(fitted["silent"], (found < 0).float().mean(0))
    assert (fitted["reach"] >= found.abs().amax(0) - 1e-4).all()


def test_without_the_penalty_keys_share_what_images_have_in_common(tmp_path):
    """Images alike but for noise: every key leans on the same mean unless it is kept from it."""
    grain = torch.Generator().manual_seed(0)
    some = torch.randint(150, 250, (64, 3, 16, 16), generator=grain, dtype=torch.uint8)
    lone = method(key_scale=0.01, key_steps=100).params
    keys = learn_keys(some, some, lone, context(tmp_path))["keys"].flatten(1)
    apart = [
        learn_keys(some, some, lone.model_copy(update={"keys": 1}), context(tmp_path, seed))
        for seed in range(2)
    ]
    shared = (apart[0]["keys"] * apart[1]["keys"]).sum()
    assert shared > 0.5
    assert (keys @ keys.T - torch.eye(USERS)).max() < 0.1


@pytest.mark.parametrize("robust", ["none", "noise"])
def test_each_copy_goes_along_its_own_key_alone(robust, host, images, fitted, tmp_path):
    plugin = method(robust=robust, steps=40, likeness_weight=1.0)
    own, owners = [], []
    users = [SimpleNamespace(user=user(index)) for index in (2, 0, 1)]
    registry = plugin.enrol(fitted, host, users, images, context(tmp_path, "enrol"))
    assert torch.equal(registry["keys"], fitted["keys"][[2, 0, 1]])
    for column, index in enumerate((2, 0, 1)):
        ctx = context(tmp_path, "issue", index)
        issued = plugin.issue(fitted, host, user(index), images, ctx)
        copy = plugin.assemble(fitted, host, issued, ctx)
        assert list(copy.steps) == list(host.generator.steps)
        drawn = copy.sample(copy.prior(range(IMAGES)))
        own.append(plugin.extract(fitted, host, Evidence(drawn, registry=registry), ctx))
        owners += [column] * IMAGES
        assert issued["distinguishability"] > 0.95
    real = Evidence(images.read(range(64)), registry=registry)
    negatives = plugin.extract(fitted, host, real, context(tmp_path, "extract"))
    measured = attributability(torch.cat(own), owners, negatives)
    assert measured.distinguishability.min() > 0.95
    assert measured.attributability.min() > 0.9


def test_rounds_raise_the_mark_until_it_is_seen(host, images, fitted, tmp_path):
    short = {"steps": 1, "round_steps": 2, "learning_rate": 2e-2}
    kept = {}
    for rounds in (1, 3, 60):
        ctx = context(tmp_path / str(rounds), "issue")
        plugin = method(**short, rounds=rounds)
        kept[rounds] = plugin.issue(fitted, host, user(0), images, ctx)
        curve = ctx.curves["rounds"]
        assert len(curve) <= rounds
        assert curve[-1]["distinguishability"] == pytest.approx(
            float(kept[rounds]["distinguishability"])
        )
    reach = fitted["reach"][0]
    assert kept[1]["gamma"] == pytest.approx(reach)
    assert kept[3]["gamma"] == pytest.approx(1.1**2 * reach)
    assert kept[3]["distinguishability"] < 0.99 <= kept[60]["distinguishability"]
    assert len(curve) < 60


@pytest.mark.parametrize("what", ["fit", "issue"])
def test_what_was_stopped_goes_on_bit_by_bit(what, host, images, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(StageContext, "checkpoint_due", lambda self: True)
    plugin = method(key_steps=3, steps=3, round_steps=3, rounds=3, learning_rate=1e-4)

    def made(place, stop_after=None):
        calls = iter(range(100))

        def progress(done, total, text):
            if stop_after is not None and next(calls) == stop_after:
                raise KeyboardInterrupt

        ctx = context(place, what, key="78" * 32, progress=progress)
        if what == "fit":
            return plugin.fit(host, images, ctx)
        return plugin.issue(fitted, host, user(1), images, ctx)

    whole = made(tmp_path / "whole")
    for stop_after in (1, 4):
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "cut", stop_after)
    resumed = made(tmp_path / "cut")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_more_users_than_keys_and_more_keys_than_values_are_refused(host, images, fitted, tmp_path):
    info = SampleInfo.of_images(32, {"train": 128})
    assert method().objection(info, USERS) == ""
    assert "for each of 4 users, got keys = 3" in method().objection(info, 4)
    assert "3,072, got keys = 3,073" in method(keys=3073).objection(info, 2)
    with pytest.raises(ContractError, match="3 users with a key, got user 3"):
        method().issue(fitted, host, user(3), images, context(tmp_path))


@pytest.mark.parametrize("family", ["blur", "crop", "noise", "jpeg", "combination"])
def test_half_of_the_images_meet_a_distortion_however_a_batch_is_cut(family):
    some = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def seen(piece):
        rng = torch.Generator().manual_seed(2)
        return distort(some[piece], family, Draws(rng, 64, piece))

    whole = seen(slice(0, 64))
    changed = (whole != some).flatten(1).any(1).float().mean()
    assert (0.3 < changed < 0.7) if family != "combination" else changed > 0.8
    parts = torch.cat([seen(slice(0, 20)), seen(slice(20, 64))])
    assert torch.allclose(whole, parts, atol=1e-5)

"""A training step computes the same however its batch is cut into pieces or dealt to devices."""

import pytest
import torch
from fpbench_hidden.training import distort
from fpbench_passive.classifier import augmented
from fpbench_passive.params import DetectorParams
from fpbench_scalable_gan.immunising import perturbed

from fpbench.api import TrainedHost
from fpbench.api.context import Peers
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.nn import discriminator, distortions, stylegan2
from fpbench.nn.draws import Draws
from fpbench.registry import load
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store
from fpbench.training import gan
from fpbench.training.marks import distort as harden

CPU = torch.device("cpu")
BATCH = 24
FULL = {"architecture": "stylegan2", "channel_base": 256, "mapping_layers": 2, "path_weight": 2.0}
HOST = {"channels": 8, "embedding_dim": 8, "latent_dim": 8, "batch": BATCH}
HOSTS = {
    "paired": {"pair_steps": 1},
    "paired, with noise inputs": {**FULL, "pair_steps": 1},
    "from noise": {**FULL, "pair_steps": 0, "style_mixing": 0.9, "penalty_weight": 10.0},
}
GAN = {
    "bits": 8,
    "channels": 8,
    "embedding_dim": 8,
    "pair_steps": 1,
    "joint_steps": 1,
    "reader_channels": 8,
}
HARD = {"immunise": "combination", "immunise_from": 0.0}
METHODS = {
    "hidden": ("hidden", {"bits": 8, "channels": 8, "reader_channels": 8, "steps": 1}),
    "passive-detector": ("passive-detector", {"channels": 8, "steps": 1}),
    "stable-signature": ("stable-signature", {"bits": 8, "channels": 8, "steps": 1}),
    "weight-modulation": (
        "weight-modulation",
        {"bits": 8, "hardened": True, "reader_channels": 8, "embedding_dim": 8, "steps": 1},
    ),
    "wouaf": (
        "wouaf",
        {
            "bits": 8,
            "hardened": "published",
            "reader_channels": 8,
            "embedding_dim": 8,
            "whole_batch": BATCH,
            "steps": 1,
        },
    ),
    "scalable-gan": ("scalable-gan", {**GAN, **HARD}),
    "scalable-gan of the paper's shape": ("scalable-gan", {**GAN, **FULL, **HARD}),
}


class Device(Peers):
    """One of several devices, whose gradients are left as they are."""

    def __init__(self, rank=0, count=1):
        self.rank = rank
        self.count = count


@pytest.fixture(scope="module")
def images():
    return SplitStream(ToyFaces(ToyFaces.Params(train=64)), "train", CPU)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """How work is dealt to threads may round a pixel the other way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _without_statistics_over_several_images(monkeypatch):
    """Decision 0010 leaves to a piece: the minibatch deviation, the mean of path lengths."""

    def none(x, group):
        return torch.zeros_like(x[:, :1])

    monkeypatch.setattr(discriminator, "minibatch_deviation", none)
    monkeypatch.setattr(stylegan2, "minibatch_deviation", none)
    monkeypatch.setattr(gan, "_PATH_DECAY", 0.0)


def component(kind, name, **params):
    cls = load().component(kind, name)
    return cls(cls.Params(**params))


def context(folder, accumulation=1, peers=None, draw=0):
    return StageContext(
        CPU, (0, "fit", draw), Store(folder), bits=8, accumulation=accumulation, peers=peers
    )


def gradients(fit, monkeypatch, ctx):
    """What the optimisers are handed, one after the other; nothing moves."""
    seen = []

    def step(self):
        seen.extend(
            p.grad.clone() for g in self.param_groups for p in g["params"] if p.grad is not None
        )

    for kind in (torch.optim.Adam, torch.optim.AdamW):  # each class keeps what it has called first
        monkeypatch.setattr(kind, "step", step)
    fit(ctx)
    return seen


def assert_pieces_and_devices_agree(fit, count, monkeypatch, tmp_path):
    # A cut moves the last digits of sums. Where one of these decides on which side of a half a
    # pixel is rounded, or of nought a unit falls, gradients differ, on one processor and in one
    # draw of three; what depends on the cut differs in every draw.
    draws = (farthest(fit, count, monkeypatch, tmp_path / f"draw {n}", n) for n in range(3))
    found = []
    for apart, where in draws:
        found.append((apart, where))
        if apart < 1e-2:
            return
    raise AssertionError(found)


def farthest(fit, count, monkeypatch, folder, draw):
    """How far gradients of a cut are from those of the whole at most, and where."""

    def of(name, **settings):
        return gradients(fit, monkeypatch, context(folder / name, draw=draw, **settings))

    whole = of("whole")
    assert sum(float(g.abs().sum()) for g in whole) > 0
    found = {f"pieces of {n}": of(f"{n}", accumulation=count // n) for n in (1, 3, 4)}
    ranks = [of(f"rank {rank}", peers=Device(rank, 3), accumulation=2) for rank in range(3)]
    found["devices"] = [torch.stack(each).mean(0) for each in zip(*ranks, strict=True)]
    return max(
        (float((one - other).norm() / one.norm().clamp_min(1e-6)), (name, tuple(one.shape)))
        for name, cut in found.items()
        for one, other in zip(whole, cut, strict=True)
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("params", HOSTS.values(), ids=HOSTS)
def test_a_host_learns_the_same_from_every_cut(params, images, monkeypatch, tmp_path):
    host = component("hosts", "stylegan2", **HOST, **params, adversarial_steps=1)
    assert_pieces_and_devices_agree(lambda ctx: host.fit(images, ctx), BATCH, monkeypatch, tmp_path)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("name", "params"), METHODS.values(), ids=METHODS)
def test_a_method_learns_the_same_from_every_cut(name, params, images, monkeypatch, tmp_path):
    host = component("hosts", "stylegan2", **HOST, pair_steps=1, adversarial_steps=0)
    state = host.fit(images, context(tmp_path / "host"))
    trained = TrainedHost(host, state, host.assemble(state, context(tmp_path / "host")))
    method = component("methods", name, **params, batch=BATCH)
    count = BATCH // 2 if name == "scalable-gan" else BATCH
    assert_pieces_and_devices_agree(
        lambda ctx: method.fit(trained, images, ctx), count, monkeypatch, tmp_path
    )


def pieces(size):
    return [slice(start, start + size) for start in range(0, BATCH, size)]


def pictures():
    rng = torch.Generator().manual_seed(3)
    return torch.rand(BATCH, 3, 32, 32, generator=rng) * 2 - 1


def drawn(places):
    return Draws(torch.Generator().manual_seed(1), BATCH, places)


CHANGES = {
    "hidden": lambda x, draws: distort(x, -x, draws),
    "passive": lambda x, draws: augmented(x, DetectorParams(), draws),
    "stable-signature": harden,
    "soften": distortions.soften,
    **{
        name: lambda x, draws, name=name: perturbed(x, name, draws)
        for name in ("crop", "noise", "blur", "jpeg", "relight", "combination")
    },
}


@pytest.mark.parametrize("size", [1, 3, 4])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_image_meets_in_a_piece_what_it_meets_in_the_whole_batch(change, size):
    images = pictures()
    whole = change(images, drawn(slice(None)))
    cut = torch.cat([change(images[piece], drawn(piece)) for piece in pieces(size)])
    torch.testing.assert_close(cut, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [1, 3, 4, BATCH])
@pytest.mark.parametrize(
    ("name", "untouched"),
    [("hidden", BATCH // 6), ("soften", BATCH // 3), ("stable-signature", BATCH // 4)],
)
def test_every_cut_leaves_as_many_images_alone(name, untouched, size):
    images = pictures()
    cut = torch.cat([CHANGES[name](images[piece], drawn(piece)) for piece in pieces(size)])
    assert int((cut == images).flatten(1).all(1).sum()) == untouched


def test_images_in_any_order_get_the_numbers_of_their_places():
    places = torch.tensor([20, 1, 7, 0, 23])
    for draw in (Draws.normal, Draws.uniform):
        assert torch.equal(draw(drawn(places)), draw(drawn(slice(None)))[places])
    with pytest.raises(TypeError, match="expected a slice of the batch, got indices"):
        drawn(places).shares([12, 12])

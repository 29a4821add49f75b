"""Training, folding and reading of `wouaf`, on a decoder of a few thousand weights."""

import copy
import warnings

import pytest
import torch
from fpbench_model_change.plugin import PermuteChannels, WeightNoise
from fpbench_wouaf import distortions, disturbing, reader, release, sparing, training
from fpbench_wouaf.likeness import likeness_of
from fpbench_wouaf.params import WouafParams
from fpbench_wouaf.plugin import Wouaf
from pydantic import ValidationError
from torch import nn

from fpbench.api import (
    ContractError,
    Evidence,
    Host,
    MissingResource,
    NoParams,
    Offer,
    SampleInfo,
    Surface,
    TrainedHost,
)
from fpbench.api.images import to_float
from fpbench.backbones.weights import WrongWeights
from fpbench.nn.draws import Draws
from fpbench.nn.generator import ChainGenerator, Tail
from fpbench.nn.image_quality import psnr
from fpbench.nn.state import part
from fpbench.nn.weights import fused
from fpbench.stages.context import StageContext
from fpbench.store import Store
from fpbench.training.marks import whiten

CPU = torch.device("cpu")
SIZE, BITS = 32, 4


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tensors this small gain nothing from threads, and lose much where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Maps(nn.Module):
    def forward(self, latents):
        return latents.view(-1, 4, 8, 8)


class Decoder(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(4, 12, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(12, 12, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(12, 3, 3, padding=1),
        )


class Small(Host[NoParams]):
    """Latents (N, 256) as maps through a decoder of three convolutions."""

    name = "small"

    def fit(self, images, ctx):
        with ctx.seeded("decoder"):
            decoder = Decoder()
        with torch.no_grad():
            decoder[6].weight.mul_(2)
        return dict(decoder.state_dict())

    def assemble(self, state, ctx):
        decoder = Decoder()
        decoder.load_state_dict(state)
        decoder.requires_grad_(False)
        return ChainGenerator({"maps": Maps(), "decoder": decoder}, 256, CPU)

    def encode(self, state, samples, ctx, step=None):
        small = nn.functional.adaptive_avg_pool2d(to_float(samples), 8)
        maps = torch.cat([small, small.mean(1, keepdim=True)], 1)
        return maps if step == "decoder" else maps.flatten(1)

    def finetune(self, state, generator, images, learning_rate, marks, ctx):
        tail = Tail(generator).requires_grad_(True)
        entry = self.encode(state, images, ctx, "decoder")
        optimiser = torch.optim.Adam(tail.parameters(), learning_rate)
        for index in range(max(marks)):
            optimiser.zero_grad()
            (tail(entry[:8]) - to_float(images[:8])).square().mean().backward()
            optimiser.step()
            if index + 1 in marks:
                yield index + 1, tail.within(generator)


class Photographs:
    """Fields of one colour each."""

    info = SampleInfo.of_images(SIZE, {"train": 128})

    def __len__(self):
        return 128

    def read(self, indices):
        colours = torch.rand(128, 3, generator=torch.Generator().manual_seed(5))
        own = colours[torch.as_tensor(list(indices))] * 255
        return own.round().byte()[:, :, None, None].expand(-1, -1, SIZE, SIZE).contiguous()

    def conditions(self, indices):
        return ()


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    return lambda *root: StageContext(CPU, (0, *root), store, bits=BITS)


@pytest.fixture(scope="module")
def host(context):
    component = Small(NoParams())
    state = component.fit(None, context("host"))
    return TrainedHost(component, state, component.assemble(state, context("host")))


def wouaf(**params):
    given = {
        "bits": BITS,
        "batch": 8,
        "whole_batch": 8,
        "steps": 4,
        "cropped": 0.5,
        "reader_channels": 8,
        "embedding_dim": 8,
    }
    return Wouaf(Wouaf.Params(**(given | params)))


def copies_of(method, state, host, context, codes):
    return [method.assemble(state, host, {"code": code}, context("issue")) for code in codes]


CODES = torch.tensor([[1, 0, 1, 1], [0, 0, 1, 0], [0, 1, 0, 1]]).bool()


@pytest.fixture(scope="module")
def learnt(host, context):
    """A low-rank carrier that was trained until most bits are read."""
    method = wouaf(carrier="low-rank", steps=300, cropped=0.66, shrink=True)
    return method, method.fit(host, Photographs(), context("learnt"))


@pytest.mark.timeout(180)
def test_codes_are_learnt_and_images_stay(learnt, host, context):
    method, state = learnt
    latents = host.generator.prior(range(40))
    before = host.generator.sample(latents)
    right = []
    for code, own in zip(CODES, copies_of(method, state, host, context, CODES), strict=True):
        images = own.sample(latents)
        logits = method.extract(state, host, Evidence(images), context("extract"))
        right.append(((logits > 0) == code).float().mean())
        assert psnr(images, before).mean() > 20
    assert torch.stack(right).mean() > 0.85


def test_a_reader_that_comes_first_lets_the_decoder_stay_as_it_is(host, context):
    first = {"reader": "extractor", "extractor_steps": 20, "reader_learning_rate": 1e-12}
    method = wouaf(carrier="filter", gain=1e-3, frozen=True, cropped=0, steps=2, **first)
    state = method.fit(host, Photographs(), context("first"))
    decoder = host.generator.steps["decoder"].state_dict()
    assert all(torch.equal(state[f"network.{name}"], w) for name, w in decoder.items())
    eye = reader.build(Photographs.info.shape, method.params)
    eye.load_state_dict(part(state, "reader"))
    said = eye(to_float(Photographs().read(range(128)))).detach()
    # It was whitened on photographs before the decoder carried anything.
    assert torch.allclose(said.mean(0), torch.zeros(BITS), atol=1e-3)
    assert torch.allclose(said.var(0, correction=0), torch.ones(BITS), atol=1e-2)
    latents = host.generator.prior(range(40))
    own = copies_of(method, state, host, context, CODES[:1])[0]
    # Codes are silent at first, and likeness is asked for from the first step.
    assert psnr(own.sample(latents), host.generator.sample(latents)).mean() > 35
    few = SampleInfo.of_images(SIZE, {"train": BITS})
    assert f"got {BITS} for {BITS} bits" in method.objection(few, 1)
    assert method.objection(Photographs.info, 1) == ""


def test_of_more_marks_than_bits_some_are_kept_by_what_the_host_and_its_tuned_copies_draw(
    host, context, monkeypatch
):
    met = []

    def remembered(extractor, images, kept):
        images = list(images)
        met.append((extractor.out.out_features, torch.cat(images), kept))
        whiten(extractor, images, kept)

    monkeypatch.setattr(reader, "whiten", remembered)
    monkeypatch.setattr(reader, "WHITENED", 384)
    first = {"reader": "extractor", "extractor_steps": 20, "extractor_marks": 3 * BITS}
    method = wouaf(
        carrier="filter", frozen=True, cropped=0, steps=2, drift=1, whitened_on="host", **first
    )
    state = method.fit(host, Photographs(), context("marks"))
    [(outputs, images, kept)] = met
    assert outputs == 3 * BITS
    assert (kept.start, kept.stop - kept.start) == (round(4 / 3 * BITS), BITS)
    assert state["reader.out.weight"].shape[0] == BITS
    # The first batch is of the host's own images, the second of a copy that was tuned.
    own, tuned = images[:128], images[128:256]
    eye = reader.build(Photographs.info.shape, method.params)
    assert own.shape == tuned.shape == (128, *Photographs.info.shape)
    assert images.dtype == torch.uint8
    assert not torch.equal(own.float().mean((0, 2, 3)), tuned.float().mean((0, 2, 3)))
    assert eye.out.out_features == BITS


@pytest.mark.parametrize("carrier", ["low-rank", "separable", "filter"])
def test_a_carrier_without_some_bits_is_one_where_they_are_silent(host, context, carrier):
    network = copy.deepcopy(host.generator.steps["decoder"])
    with context("carrier").seeded("carrier"):
        model = training.carried(network, wouaf(carrier=carrier).params)
        entry = torch.randn(2, 4, 8, 8)
    signs = torch.tensor([[1.0, 0, -1, 0], [-1, 0, -1, 0]])
    with torch.no_grad():
        before = model(entry, signs)
        model.carrier.keep(torch.tensor([0, 2]))
        assert torch.allclose(model(entry, signs[:, [0, 2]]), before, atol=1e-6)
    assert all(w.requires_grad for w in model.carrier.parameters())


def test_bits_that_tuned_copies_lose_are_the_spare_ones(host, context, monkeypatch):
    scores = torch.tensor([0.5, 0.9, 0.6, 0.9, 0.7, 0.8])
    met = []

    def known(model, eye, *rest):
        met.append((copy.deepcopy(model), copy.deepcopy(eye)))
        return scores

    monkeypatch.setattr(training.sparing, "lasting", known)
    first = {"reader": "extractor", "extractor_steps": 20, "extractor_marks": 3 * BITS}
    rates = {"code_learning_rate": 1e-9, "reader_learning_rate": 1e-9}
    method = wouaf(
        carrier="filter", frozen=True, cropped=0, steps=4, spare_bits=2, **first, **rates
    )
    state = method.fit(host, Photographs(), context("spare"))
    assert Offer.FINETUNE in method.asks  # a host that cannot is refused before any training
    [(model, eye)] = met
    kept = [1, 3, 4, 5]
    assert eye.out.out_features == BITS + 2
    assert torch.allclose(state["reader.out.weight"], eye.out.weight[kept], atol=1e-6)
    assert torch.allclose(state["carrier.up.1"], model.carrier.up[1][:, kept], atol=1e-6)
    assert torch.allclose(state["carrier.down.1"], model.carrier.down[1][kept], atol=1e-6)
    copies = copies_of(method, state, host, context, CODES[:2])
    latents = host.generator.prior(range(8))
    assert not torch.equal(*(own.sample(latents) for own in copies))


def test_what_lasts_is_read_of_pairs_that_are_tuned_as_the_public_may(host, context, monkeypatch):
    tuned = []

    def finetune(state, generator, images, rate, marks, ctx):
        tuned.append((generator, len(images), rate, marks))
        return [(marks[-1], generator)]

    ctx = context("lasting")
    with ctx.seeded("carrier"):
        model = training.carried(
            copy.deepcopy(host.generator.steps["decoder"]), wouaf(carrier="filter").params
        )
        hidden = torch.randn(BITS, 3)
    before = copy.deepcopy(model.network.state_dict())

    class Eye(nn.Module):
        """The first bit is always True, others are signs of mixed colours."""

        out = nn.Linear(1, BITS)

        def forward(self, images):
            said = images.mean((2, 3)) @ hidden.T
            return torch.cat([said[:, :1] * 0 + 1, said[:, 1:]], 1)

    monkeypatch.setattr(host.component, "finetune", finetune)
    found = sparing.lasting(model, Eye(), host, Photographs(), ctx)
    assert found[0] == 0.5  # as often wrong as right
    assert [one[1:] for one in tuned] == [(128, 1e-4, (50,))] * 4
    # Two copies of a pair stand on both sides of the host.
    for left, right in ((0, 2), (1, 3)):
        ends = [tuned[i][0].steps["decoder"][3].weight for i in (left, right)]
        assert torch.allclose(sum(ends) / 2, before["3.weight"], atol=1e-6)
        assert not torch.equal(*ends)
    assert all(torch.equal(before[name], w) for name, w in model.network.state_dict().items())


def test_a_reader_waits_until_codes_can_be_read(host, context):
    first = {"reader": "extractor", "extractor_steps": 20, "reader_learning_rate": 0.1}
    settings = {"carrier": "filter", "frozen": True, "cropped": 0, "steps": 2, **first}
    waits = wouaf(reader_from=0.99, **settings).fit(host, Photographs(), context("waits"))
    learns = wouaf(**settings).fit(host, Photographs(), context("waits"))
    said = [reader.build(Photographs.info.shape, wouaf(**settings).params) for _ in (waits, learns)]
    clean = to_float(Photographs().read(range(128)))
    for eye, state in zip(said, (waits, learns), strict=True):
        eye.load_state_dict(part(state, "reader"))
    variances = [eye(clean).detach().var(0, correction=0) for eye in said]
    assert torch.allclose(variances[0], torch.ones(BITS), atol=1e-2)
    assert not torch.allclose(variances[1], torch.ones(BITS), atol=1e-2)


@pytest.mark.parametrize(
    ("late", "share", "least", "power"), [(False, 0.5, 0.3, 1), (True, 0.9, 0.1, 2)]
)
def test_codes_are_as_faint_as_is_asked_for_late_in_a_training(late, share, least, power):
    codes = torch.rand(4000, BITS, generator=torch.Generator().manual_seed(0)) > 0.5
    asked = wouaf(shrink=True, faint_share=0.9, faintest=0.1, faint_power=2).params
    signs = training.signs_of(codes, asked, torch.Generator().manual_seed(1), late=late)
    assert torch.equal(signs > 0, codes)
    sizes = signs.abs()
    assert torch.equal(sizes, sizes[:, :1].expand_as(sizes))
    faint = sizes[:, 0][sizes[:, 0] < 1]
    assert len(faint) / len(codes) == pytest.approx(share, abs=0.03)
    assert faint.min() == pytest.approx(least, abs=0.01)
    assert faint.mean() == pytest.approx(least + (1 - least) / (1 + power), abs=0.02)


def test_a_decoder_may_move_at_a_rate_of_its_own_on_whole_samples(host, context):
    fast, slow = (
        wouaf(steps=2, cropped=0, whole_image_learning_rate=rate).fit(
            host, Photographs(), context("rate", str(rate))
        )
        for rate in (None, 1e-12)
    )
    start = host.generator.steps["decoder"].state_dict()
    for state, moves in ((fast, True), (slow, False)):
        moved = max(float((state[f"network.{n}"] - w).abs().max()) for n, w in start.items())
        assert (moved > 1e-6) is moves


@pytest.mark.timeout(180)
def test_the_code_is_in_the_weights_whatever_is_done_to_them(learnt, host, context):
    method, state = learnt
    of_weights = wouaf(carrier="low-rank", reading="weights")
    assert of_weights.reads == "weights" != method.reads
    for number, own in enumerate(copies_of(method, state, host, context, CODES)):
        seen = [own]
        for attack, strength in ((WeightNoise, 0.2), (PermuteChannels, None)):
            made = attack(attack.Params())
            surface = Surface(made.access, attack.name, _copies=[own])
            found = made.apply(surface, (strength,), context("attack", number))
            seen += [generator for _, generator in found]
        for one in seen:
            read = of_weights.extract(state, host, Evidence(_copy=one), context("extract"))
            assert read.shape == (1, BITS)
            assert torch.equal(read[0] > 0, CODES[number])
        assert read.abs().min() > 0.3  # read of permuted channels as they stood: next to nothing
    for gone in (fused(own), broken(own)):
        none = of_weights.extract(state, host, Evidence(_copy=gone), context("extract"))
        assert torch.equal(none, torch.zeros(1, BITS))
    unmarked = of_weights.extract(state, host, Evidence(_copy=host.generator), context("extract"))
    assert unmarked.abs().max() < 1


def broken(generator):
    decoder = copy.deepcopy(generator.steps["decoder"])
    with torch.no_grad():
        decoder[3].weight[0, 0] = float("nan")
    return generator.replace("decoder", decoder)


def test_a_copy_is_the_host_with_other_weights(host, context):
    method = wouaf(carrier="amplitude", mapping="published")
    state = method.fit(host, Photographs(), context("other weights"))
    first, second, _ = copies_of(method, state, host, context, CODES)
    names = {name: t.shape for name, t in host.generator.steps["decoder"].state_dict().items()}
    assert {n: t.shape for n, t in first.steps["decoder"].state_dict().items()} == names
    latents = host.generator.prior(range(4))
    assert not torch.equal(first.sample(latents), second.sample(latents))
    again = method.fit(host, Photographs(), context("other weights", "again"))
    assert set(again) == set(state)


def test_the_same_training_gives_the_same_weights(host, tmp_path_factory):
    states = []
    for number in range(2):
        store = Store(tmp_path_factory.mktemp(f"repeat{number}"))
        ctx = StageContext(CPU, (0, "repeat"), store, bits=BITS)
        method = wouaf(carrier="separable", noise=0.2, drift=1, hardened="published")
        states.append(method.fit(host, Photographs(), ctx))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("wanted", [24.0, 32.0])
def test_codes_are_as_loud_as_is_asked_for(wanted, host, context):
    method = wouaf(carrier="low-rank", gain=0.2, cropped=0, likeness_db=wanted, frozen=True)
    state = method.fit(host, Photographs(), context("loud", int(wanted)))
    latents = host.generator.prior(range(100, 164))
    before = host.generator.sample(latents)
    codes = torch.rand(8, BITS, generator=torch.Generator().manual_seed(0)) < 0.5
    likeness = [
        psnr(own.sample(latents), before).mean()
        for own in copies_of(method, state, host, context, codes)
    ]
    assert abs(torch.stack(likeness).mean() - wanted) < 1.5


def test_disturbed_weights_come_back():
    network = Decoder()
    before = copy.deepcopy(network.state_dict())
    drift = {"0.weight": torch.ones_like(before["0.weight"])}
    how = disturbing.Disturbance(noise=0.5, seed=3, drift=drift, share=0.25)
    with disturbing.disturbed(network, how, lambda: ()):
        moved = network[3].weight - before["3.weight"]
        assert abs(float(moved.detach().std() / before["3.weight"].std()) - 0.5) < 0.05
        shifted = (network[0].weight.detach() - before["0.weight"]).mean()
        assert abs(float(shifted) - 0.25) < 0.05
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


def test_the_worst_noise_harms_more_than_any_random_one():
    network = Decoder()
    x = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def reading():
        return (network(x).square().mean(),)

    def loss_under(**how):
        with disturbing.disturbed(network, disturbing.Disturbance(noise=0.05, **how), reading):
            return float(reading()[0].detach())

    calm = float(reading()[0].detach())
    random = [loss_under(seed=seed) for seed in range(8)]
    assert loss_under(worst=True) > max(*random, calm)


def test_drift_is_what_fine_tuning_does(host, context):
    moves = disturbing.drifts(host, Photographs(), WouafParams(drift=2), context("drift"))
    assert len(moves) == 8  # two copies at four marks each
    sizes = [sum(float(m.abs().sum()) for m in move.values()) for move in moves]
    assert 0 < sizes[0] < sizes[3]
    assert set(moves[0]) == set(dict(host.generator.steps["decoder"].named_parameters()))


def test_an_enlarged_reader_says_the_mean_of_four_quarters():
    params = WouafParams(bits=BITS, reader_channels=8)
    small = reader.build((3, 16, 16), params)
    large = reader.enlarged(small, (3, 32, 32), params)
    maps = torch.randn(2, 24, 4, 4, generator=torch.Generator().manual_seed(0))
    quarters = [maps[:, :, i : i + 2, j : j + 2] for i in (0, 2) for j in (0, 2)]
    expected = torch.stack([small.out(q.flatten(1)) for q in quarters]).mean(0)
    assert torch.allclose(large.out(maps.flatten(1)), expected, atol=1e-5)


def test_photographs_are_taken_out_of_a_calibrated_reading(learnt, host, context):
    _, state = learnt
    method = wouaf(carrier="low-rank", reading="calibrated", photographs=32)
    registry = method.enrol(state, host, [], Photographs(), context("enrol"))
    photographs = Photographs().read(range(128))
    plain = wouaf(carrier="low-rank")
    logits = plain.extract(state, host, Evidence(photographs), context("extract"))
    assert torch.allclose(registry["mean"], logits.mean(0), atol=1.0)
    read = method.extract(state, host, Evidence(photographs, None, registry), context("extract"))
    own = logits - registry["mean"]
    assert torch.allclose(read, own / own.norm(dim=1, keepdim=True) * BITS**0.5, atol=1e-4)
    assert (method.enrols, plain.enrols) == (True, False)


@pytest.mark.timeout(180)
def test_a_reader_trained_again_knows_tuned_copies_better(learnt, host, context):
    method, state = learnt
    again = wouaf(
        carrier="low-rank", reading="retrained", retraining_steps=60, tuned=2, photographs=32
    )
    registry = again.enrol(state, host, [], Photographs(), context("again"))
    moves = release._codeless(state, host, Photographs(), again.params, context("moves"))
    own = copies_of(method, state, host, context, CODES)[0]
    tuned = copy.deepcopy(own.steps["decoder"])
    with torch.no_grad():
        for name, value in tuned.named_parameters():
            value.add_(moves[-1][name])
    images = own.replace("decoder", tuned).sample(own.prior(range(60)))
    before = method.extract(state, host, Evidence(images), context("extract"))
    after = again.extract(state, host, Evidence(images, None, registry), context("extract"))
    right = [((logits > 0) == CODES[0]).float().mean() for logits in (before, after)]
    assert right[1] >= right[0] - 0.02
    assert right[1] > 0.7


def test_published_distortions_go_by_the_place_in_the_batch():
    images = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def drawn(places):
        return Draws(torch.Generator().manual_seed(7), 12, places)

    whole = distortions.published(images, drawn(slice(None)))
    parts = [distortions.published(images[s], drawn(s)) for s in (slice(0, 5), slice(5, 12))]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)
    assert whole.abs().max() <= 1
    changed = ((whole - images).abs().amax((1, 2, 3)) > 1e-6).float().mean()
    assert 0.5 < changed <= 1


def test_a_perceptual_loss_is_lpips_with_the_weights_that_are_named(tmp_path):
    lpips = pytest.importorskip("lpips")
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks torchvision in an old way
        torch.default_generator.manual_seed(0)
        network = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False).eval()
    own = network.net.state_dict()
    file = tmp_path / "squeezenet.pth"
    torch.save({"features." + name.partition(".")[2]: t for name, t in own.items()}, file)
    params = WouafParams(perceptual=str(file), perceptual_net="squeeze")
    alike = likeness_of(params, CPU)
    rng = torch.Generator().manual_seed(1)
    images, other = (torch.rand(2, 3, 64, 64, generator=rng) * 2 - 1 for _ in range(2))
    assert alike(images, images) == 0
    with torch.no_grad():
        assert torch.allclose(alike(images, other), network(images, other).mean())
    images.requires_grad_(True)
    alike(images, other).backward()
    assert images.grad.abs().sum() > 0
    torch.save({"features.0.weight": own["slice1.0.weight"]}, file)
    with pytest.raises(WrongWeights, match="torchvision's network for LPIPS squeeze"):
        likeness_of(params, CPU)
    with pytest.raises(MissingResource, match="bring it, or leave `perceptual` empty"):
        likeness_of(WouafParams(perceptual=str(tmp_path / "none.pth")), CPU)
    assert likeness_of(WouafParams(), CPU)(torch.ones(1), torch.zeros(1)) == 1


def test_what_cannot_be_is_refused(host, context):
    for params, said in (
        ({"reading": "weights"}, "directions of their own"),
        ({"reader": "extractor"}, "needs cropped = 0"),
        ({"extractor_marks": 96}, 'need reader = "extractor"'),
        ({"whitened_on": "host"}, 'need reader = "extractor"'),
        (
            {"reader": "extractor", "cropped": 0, "extractor_marks": 7},
            r"of at least bits \+ spare_bits = 32, got 7",
        ),
        ({"spare_bits": 8}, 'need reader = "extractor"'),
        ({"reader": "extractor", "cropped": 0, "spare_bits": 8}, "spare_bits need a carrier whose"),
        (
            {"reader": "extractor", "cropped": 0, "spare_bits": 8, "extractor_marks": 39},
            r"of at least bits \+ spare_bits = 40, got 39",
        ),
        ({"likeness": "photograph"}, 'needs latents = "photographs"'),
        ({"worst_case": True}, "needs noise"),
        ({"layers": "("}, "regular expression"),
    ):
        with pytest.raises(ValidationError, match=said):
            WouafParams(**params)
    with pytest.raises(ContractError, match=r"layers for the carrier 'norm' \(norms\), got none"):
        wouaf(carrier="norm").fit(host, Photographs(), context("none"))
    with pytest.raises(ContractError, match="got none; set another `carrier`, or `layers`"):
        training.carried(Decoder(), WouafParams(layers="attention"))


def test_a_host_that_tells_its_layers_is_refused_before_any_training(host):
    class Telling(Small):
        def output_shapes(self):
            return {"0.weight": (12, 4, 3, 3), "norm.weight": (12,), "to_q.weight": (9, 9)}

    told = Telling(NoParams())
    assert wouaf().refuse(host.component, None) is None
    assert wouaf(bits=13).refuse(told, None) is None  # four channels and nine of the linear layer
    assert "13 bits need" in wouaf(bits=13, modulated="conv").refuse(told, None).reason
    assert "no layer for the carrier" in wouaf(layers="mid").refuse(told, None).reason
    assert wouaf(carrier="norm").refuse(told, None) is None
    assert wouaf(latents="photographs").asks == {Offer.WEIGHTS, Offer.ENCODE}
    assert wouaf(drift=2).asks == {Offer.WEIGHTS, Offer.FINETUNE}

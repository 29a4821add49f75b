import math

import numpy as np
import pytest
import torch
from fpbench_hidden.plugin import Hidden
from fpbench_model_change.plugin import (
    ChannelScaleNoise,
    Distil,
    FineTune,
    Overwrite,
    PermuteChannels,
    Prune,
    Purify,
    Quantise,
    WeightNoise,
    WeightRounding,
)
from pydantic import ValidationError
from torch import nn

from fpbench.api import Access, ContractError, SampleInfo, Setting, Surface, TrainedHost
from fpbench.api.post import PostStep
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.nn.channels import Channels, outputs
from fpbench.nn.generator import ChainGenerator
from fpbench.nn.weights import buffers, parameters, weights
from fpbench.plan import is_reserved
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store
from fpbench.testing.fakes import Perfect, TinyHost
from fpbench.testing.networks import BlockEmbedder

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tensors this small gain nothing from threads, and lose much where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def ctx(tmp_path):
    return StageContext(CPU, (0, "test"), Store(tmp_path), bits=8)


@pytest.fixture
def images():
    return SplitStream(ToyFaces(ToyFaces.Params(train=16)), "train", CPU)


@pytest.fixture
def host(ctx, images):
    component = TinyHost(TinyHost.Params())
    state = component.fit(images, ctx)
    return TrainedHost(component, state, component.assemble(state, ctx))


@pytest.fixture
def net():
    """A generator of two convolutions and a dense layer, of different scales."""
    rng = torch.Generator().manual_seed(1)
    layers = nn.Sequential(nn.Linear(8, 16), nn.Unflatten(1, (4, 2, 2)), nn.Conv2d(4, 6, 3))
    layers.append(nn.Conv2d(6, 3, 1))
    with torch.no_grad():
        for scale, parameter in enumerate(layers.parameters(), start=1):
            parameter.copy_(scale * torch.randn(parameter.shape, generator=rng))
    return ChainGenerator({"generator": layers.to(memory_format=torch.channels_last)}, 8, CPU)


def surface(attack, copy, host=None, clean=None, trainer=None):
    return Surface(attack.access, attack.name, [copy], clean, host, trainer)


def run(attack, copy, strengths, ctx, **opened):
    return dict(attack.apply(surface(attack, copy, **opened), strengths, ctx))


def flat(generator):
    return torch.cat([value.flatten() for value in parameters(generator).values()])


def setting(method, **changes):
    host = TinyHost(TinyHost.Params())
    known = {"method": method, "host": host, "copies": 2, "clean_images": 8, "strength": None}
    info = SampleInfo.of_images(16, {})
    return Setting(**(known | changes), info=info)


def marked(host, bits=8):
    code = torch.ones(bits, dtype=torch.bool)
    post = PostStep(BlockEmbedder(bits, torch.tensor([0.25])), code)
    return host.generator.replace("post", post, after="generator")


def test_weight_noise_is_relative_to_each_tensor_and_shares_its_direction(host, ctx):
    attack = WeightNoise(WeightNoise.Params())
    before = flat(host.generator)
    noisy = run(attack, host.generator, [0.1, 0.3], ctx)
    assert torch.equal(flat(host.generator), before)
    for name, parameter in host.generator.steps["generator"].named_parameters():
        weak, strong = (
            noisy[s].steps["generator"].get_parameter(name) - parameter for s in (0.1, 0.3)
        )
        assert torch.allclose(3 * weak, strong, atol=1e-5)
        expected = 0.1 * parameter.std()
        assert weak.std().item() == pytest.approx(expected.item(), rel=0.4)


@pytest.mark.parametrize("cls", [WeightNoise, ChannelScaleNoise, Prune])
def test_the_identity_strength_changes_nothing(cls, net, ctx):
    attack = cls(cls.Params())
    assert attack.strength.identity == 0
    ((_, same),) = run(attack, net, [0.0], ctx).items()
    assert torch.equal(flat(same), flat(net))


@pytest.mark.parametrize(
    ("cls", "strengths"),
    [
        (WeightNoise, [0.1, 0.4]),
        (ChannelScaleNoise, [0.1, 0.4]),
        (Prune, [0.1, 0.4]),
        (Quantise, [16, 4]),
        (WeightRounding, [3, 0]),
    ],
)
def test_copies_come_weakest_first_whatever_the_order_asked(cls, strengths, net, ctx):
    attack = cls(cls.Params())
    for asked in (strengths, strengths[::-1]):
        changed = run(attack, net, [float(s) for s in asked], ctx)
        assert list(changed) == strengths
        weak, strong = ((flat(copy) - flat(net)).norm() for copy in changed.values())
        assert 0 < weak < strong


def test_channel_scale_noise_keeps_the_norm_of_every_filter_and_scales_channels(net, ctx):
    attack = ChannelScaleNoise(ChannelScaleNoise.Params())
    noisy = run(attack, net, [0.2, 0.4], ctx)
    convolutions = {place: weight for place, weight in weights(net).items() if weight.dim() == 4}
    assert len(convolutions) == 2
    for place, weight in convolutions.items():
        logs = []
        for copy in noisy.values():
            changed = weights(copy)[place]
            assert torch.allclose(changed.flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1))
            logs.append((changed / weight).reshape(*weight.shape[:2], -1).log())
        for log in logs:
            # One factor per input channel, up to one per filter from bringing the norm back.
            contrast = log - log[:, :1, :1]
            assert torch.allclose(contrast, contrast[:1, :, :1].expand_as(contrast), atol=1e-4)
        contrasts = [log[0, :, 0] - log[0, 0, 0] for log in logs]
        assert torch.allclose(2 * contrasts[0], contrasts[1], atol=1e-4)
    others = set(parameters(net)) - set(convolutions)
    assert all(torch.equal(parameters(noisy[0.4])[b], parameters(net)[b]) for b in others)


@pytest.mark.parametrize("share", [0.1, 0.333, 0.6, 1.0])
def test_pruning_takes_the_smallest_weights_of_all_layers_together(share, net, ctx):
    ((_, pruned),) = run(Prune(Prune.Params()), net, [share], ctx).items()
    before = np.concatenate([w.numpy().ravel() for w in weights(net).values()])
    after = np.concatenate([w.numpy().ravel() for w in weights(pruned).values()])
    count = round(share * before.size)
    # A layer may hold its weights at any scale, so sizes are shares of the tensor's own.
    sizes = np.concatenate(
        [
            np.abs(w.numpy().ravel()) / np.sqrt(np.mean(np.square(w.numpy())))
            for w in weights(net).values()
        ]
    )
    expected = before.copy()
    expected[np.argsort(sizes, kind="stable")[:count]] = 0
    assert (after == 0).sum() == count
    assert np.array_equal(after, expected)
    biases = set(parameters(net)) - set(weights(net))
    assert all(torch.equal(parameters(pruned)[b], parameters(net)[b]) for b in biases)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_channel_pruning_takes_whole_filters_and_never_all_of_a_layer(share, net, ctx):
    ((_, pruned),) = run(Prune(Prune.Params(structure="channel")), net, [share], ctx).items()
    filters, best = [], set()
    for place, weight in weights(net).items():
        norms = [float(np.linalg.norm(f)) for f in weight.numpy()]
        best.add((place, int(np.argmax(norms))))
        filters += [(n / np.mean(norms), weight[i].numel(), place, i) for i, n in enumerate(norms)]
    filters.sort(key=lambda entry: entry[0])
    budget, expected = round(share * sum(f[1] for f in filters)), set()
    for _, size, place, index in [f for f in filters if f[2:] not in best]:
        budget -= size
        if budget < 0:
            break
        expected.add((place, index))
    for place, weight in weights(net).items():
        for index, before in enumerate(weight):
            after = weights(pruned)[place][index]
            gone = (place, index) in expected
            assert torch.equal(after, torch.zeros_like(before) if gone else before)


@pytest.mark.parametrize("bits", [15, 8, 4, 2])
@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_quantisation_is_numpy_rounding(bits, per, net, ctx):
    ((_, copy),) = run(Quantise(Quantise.Params(per=per)), net, [float(bits)], ctx).items()
    for place, weight in weights(net).items():
        got = weights(copy)[place].numpy()
        parts = (
            [(weight.numpy(), got)] if per == "tensor" else zip(weight.numpy(), got, strict=True)
        )
        for before, after in parts:
            scale = np.abs(before).max() / np.float32(2 ** (bits - 1) - 1)
            assert np.allclose(after, np.round(before / scale) * scale, atol=1e-6)
            assert len(np.unique(after)) <= 2**bits - 1


def test_sixteen_bits_are_half_precision(net, ctx):
    ((_, copy),) = run(Quantise(Quantise.Params()), net, [16.0], ctx).items()
    for place, weight in weights(net).items():
        assert np.array_equal(weights(copy)[place], weight.numpy().astype(np.float16))


def test_zero_weights_stay_zero(ctx):
    layer = nn.Linear(4, 4)
    nn.init.zeros_(layer.weight)
    zero = ChainGenerator({"generator": layer}, 4, CPU)
    channel = Prune(Prune.Params(structure="channel"))
    for attack, strength in (
        (Quantise(Quantise.Params()), 4.0),
        (channel, 0.5),
        (ChannelScaleNoise(ChannelScaleNoise.Params()), 0.4),
    ):
        ((_, copy),) = run(attack, zero, [strength], ctx).items()
        assert not parameters(copy)["generator", "weight"].any()


def test_rounding_is_numpy_rounding_in_units_of_each_tensor(net, ctx):
    attack = WeightRounding(WeightRounding.Params())
    for decimals, copy in run(attack, net, [9.0, 3.0, 0.0], ctx).items():
        for place, value in parameters(net).items():
            exact = value.numpy().astype(np.float64)
            unit = np.sqrt(np.mean(exact**2))
            expected = np.round(exact / unit, int(decimals)) * unit
            assert np.allclose(parameters(copy)[place], expected, rtol=1e-6, atol=0)


class Stored(nn.Module):
    """A dense layer and a convolution, whose stored weights are `scale` times what acts."""

    def __init__(self, scale):
        super().__init__()
        rng = torch.Generator().manual_seed(5)
        self.scale = scale
        self.dense = nn.Parameter(torch.randn(12 * 16, 8, generator=rng) * 0.3 * scale)
        self.weight = nn.Parameter(torch.randn(3, 12, 3, 3, generator=rng))

    def forward(self, latents):
        x = nn.functional.linear(latents, self.dense / self.scale).view(-1, 12, 4, 4)
        return nn.functional.conv2d(x, self.weight, padding=1)


@pytest.mark.parametrize(
    ("attack", "strength"),
    [
        (Prune(Prune.Params()), 0.4),
        (Prune(Prune.Params(structure="channel")), 0.4),
        (WeightRounding(WeightRounding.Params()), 0.0),
        (WeightNoise(WeightNoise.Params()), 0.3),
        (Quantise(Quantise.Params()), 3.0),
        (ChannelScaleNoise(ChannelScaleNoise.Params()), 0.4),
    ],
    ids=lambda value: str(getattr(value, "name", value)),
)
def test_the_scale_that_weights_are_stored_at_does_not_matter(attack, strength, ctx):
    images, before = [], []
    for scale in (1.0, 32.0):
        copy = ChainGenerator({"generator": Stored(scale)}, 8, CPU)
        ((_, attacked),) = run(attack, copy, [strength], ctx).items()
        latents = copy.prior(list(range(16)))
        images.append(attacked.run(latents))
        before.append(copy.run(latents))
    assert torch.allclose(before[0], before[1], atol=1e-4)
    assert torch.allclose(images[0], images[1], atol=1e-4)
    assert not torch.allclose(images[0], before[0], atol=1e-1)
    assert images[0].abs().mean() > 0.1


def test_attacks_reach_what_a_batch_normalised_net_keeps_in_buffers(ctx):
    net = nn.Sequential(nn.Linear(8, 48), nn.BatchNorm1d(48), nn.Unflatten(1, (3, 4, 4)))
    rng = torch.Generator().manual_seed(3)
    mean, variance = (torch.rand(48, generator=rng) for _ in range(2))
    net[1].running_mean.copy_(mean)
    net[1].running_var.copy_(variance)
    net.register_buffer("filter", torch.ones(3, 3), persistent=False)
    copy = ChainGenerator({"generator": net}, 8, CPU)
    for attack, strength in (
        (WeightNoise(WeightNoise.Params()), 3.0),
        (WeightRounding(WeightRounding.Params()), 0.0),
    ):
        ((_, attacked),) = run(attack, copy, [strength], ctx).items()
        changed = buffers(attacked)
        for name, before in (("1.running_mean", mean), ("1.running_var", variance)):
            assert not torch.equal(changed["generator", name], before)
        assert bool((changed["generator", "1.running_var"] > 0).all())
        assert torch.equal(changed["generator", "filter"], torch.ones(3, 3))
        assert changed["generator", "1.num_batches_tracked"] == 0
        attacked.sample(attacked.prior([0]))


def test_channel_noise_leaves_dense_layers_and_constants_alone(ctx):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.mapping = nn.Linear(8, 4)
            self.constant = nn.Parameter(torch.ones(1, 4, 4, 4))
            self.conv = nn.Conv2d(4, 3, 3)

        def forward(self, latents):
            return self.conv(self.constant * self.mapping(latents)[:, :, None, None])

    copy = ChainGenerator({"generator": Net()}, 8, CPU)
    attack = ChannelScaleNoise(ChannelScaleNoise.Params())
    ((_, noisy),) = run(attack, copy, [0.4], ctx).items()
    now = parameters(noisy)
    changed = {
        name
        for place, value in parameters(copy).items()
        if not torch.equal(value, now[place])
        for name in place[1:]
    }
    assert changed == {"conv.weight"}


def test_fine_tuning_is_one_trajectory_that_does_not_depend_on_its_marks(host, images, ctx):
    attack = FineTune(FineTune.Params(learning_rate=1e-2))
    opened = {"host": host, "clean": images.read(np.arange(8))}
    some = run(attack, host.generator, [3.0], ctx, **opened)
    more = run(attack, host.generator, [5.0, 1.0, 3.0], ctx, **opened)
    assert list(more) == [1.0, 3.0, 5.0]
    assert torch.equal(flat(some[3.0]), flat(more[3.0]))
    assert not torch.equal(flat(more[3.0]), flat(more[5.0]))
    assert attack.steps(setting(Perfect(Perfect.Params()), strength=5.0)) == 5


def test_fine_tuning_goes_through_the_step_behind_the_output(host, images, ctx):
    attack, copy = FineTune(FineTune.Params(learning_rate=1e-2)), marked(host)
    opened = {"host": host, "clean": images.read(np.arange(16))}
    tuned = run(attack, copy, [40.0], ctx, **opened)[40.0]
    assert list(tuned.steps) == ["generator", "post"]
    for place, value in parameters(copy).items():
        assert not torch.equal(parameters(tuned)[place], value), place
    latents = host.component.encode(host.state, opened["clean"], ctx)

    def distance(generator):
        return (generator.sample(latents).float() - opened["clean"].float()).square().mean()

    # What comes out is what learns: the mark, which clean images lack, is trained away.
    alone = run(attack, host.generator, [40.0], ctx, **opened)[40.0]
    beside = alone.replace("post", copy.steps["post"], after="generator")
    assert distance(tuned) < distance(beside)


def test_fine_tuning_stops_before_an_opaque_step(host, images, ctx):
    copy = marked(host)
    sealed = copy.steps["post"]
    sealed.embedder.opaque = True
    assert copy.opaque == {"post"}
    attack = FineTune(FineTune.Params(learning_rate=1e-2))
    opened = {"host": host, "clean": images.read(np.arange(8))}
    tuned = run(attack, copy, [2.0], ctx, **opened)[2.0]
    assert tuned.steps["post"] is sealed
    alone = run(attack, host.generator, [2.0], ctx, **opened)[2.0]
    assert torch.equal(flat(tuned), flat(alone))


@pytest.mark.parametrize("cls", [FineTune, Purify, Distil])
def test_training_on_the_hosts_latents_is_refused_where_copies_take_their_own(cls):
    class Own(Perfect):
        host_latents = False

    attack = cls(cls.Params())
    for method, refused in ((Own(Own.Params()), True), (Perfect(Perfect.Params()), False)):
        refusal = attack.refuse(setting(method, strength=8.0))
        assert (refusal is not None and "latents of its own" in refusal.reason) == refused


def test_only_attacks_that_change_the_copys_own_weights_say_so():
    for cls in (WeightNoise, ChannelScaleNoise, Prune, Quantise, WeightRounding, FineTune, Purify):
        assert cls.changes_weights
    assert not Distil.changes_weights


def test_the_moving_average_is_that_of_every_step(host, images, ctx):
    opened = {"host": host, "clean": images.read(np.arange(8))}
    plain = FineTune(FineTune.Params(learning_rate=1e-2))
    steps = run(plain, host.generator, [1.0, 2.0, 3.0, 4.0], ctx, **opened)
    attack = FineTune(FineTune.Params(learning_rate=1e-2, ema=0.7))
    averaged = run(attack, host.generator, [2.0, 4.0], ctx, **opened)
    assert list(averaged) == [2.0, 4.0]
    expected = flat(host.generator)
    for step in (1.0, 2.0, 3.0, 4.0):
        expected = 0.7 * expected + 0.3 * flat(steps[step])
        if step in averaged:
            assert torch.allclose(flat(averaged[step]), expected, atol=1e-6)


def test_purifying_sees_only_the_first_images(host, images, ctx):
    attack = Purify(Purify.Params(steps=2, learning_rate=1e-2))
    clean = images.read(np.arange(8))
    before = flat(host.generator)
    purified = run(attack, host.generator, [8.0, 4.0], ctx, host=host, clean=clean)
    assert list(purified) == [4.0, 8.0]
    assert torch.equal(flat(host.generator), before)
    other = clean.clone()
    other[4:] = 255 - other[4:]
    again = run(attack, host.generator, [4.0, 8.0], ctx, host=host, clean=other)
    assert torch.equal(flat(purified[4.0]), flat(again[4.0]))
    assert not torch.equal(flat(purified[8.0]), flat(again[8.0]))
    tuned = run(
        FineTune(FineTune.Params(learning_rate=1e-2)),
        host.generator,
        [2.0],
        ctx,
        host=host,
        clean=clean[:4],
    )
    assert torch.equal(flat(tuned[2.0]), flat(purified[4.0]))
    assert attack.steps(setting(Perfect(Perfect.Params()), strength=8.0)) == 2


def test_purifying_asks_for_as_many_images_as_it_needs():
    attack = Purify(Purify.Params())
    method = Perfect(Perfect.Params())
    assert attack.refuse(setting(method, clean_images=64, strength=64.0)) is None
    refusal = attack.refuse(setting(method, clean_images=63, strength=64.0))
    assert "clean_images = 64" in refusal.reason


def test_overwriting_adds_a_mark_with_a_code_of_the_adversary(host, images, ctx):
    method = Hidden(Hidden.Params(bits=8, channels=8, steps=4, batch=12))
    state = method.fit(host, images, ctx)
    copy = method.assemble(state, host, {"code": torch.ones(8, dtype=torch.bool)}, ctx)
    before = {place: t.clone() for place, t in {**parameters(copy), **buffers(copy)}.items()}
    attack = Overwrite(Overwrite.Params())
    opened = {"host": host, "clean": images.read(np.arange(8)), "trainer": method}
    overwritten = run(attack, copy, [0.5, 1.0], ctx, **opened)
    again = run(attack, copy, [1.0], ctx, **opened)
    for place, value in {**parameters(copy), **buffers(copy)}.items():
        assert torch.equal(value, before[place])
    assert list(overwritten) == [0.5, 1.0]
    weak, strong = overwritten.values()
    assert list(strong.steps) == ["generator", "post"]
    assert not torch.equal(flat(weak), flat(strong))
    assert torch.equal(flat(again[1.0]), flat(strong))
    code = buffers(strong)["post", "code"]
    assert torch.equal(code, buffers(weak)["post", "code"])
    assert not torch.equal(code, before["post", "code"])
    assert not is_reserved(code[None].numpy()).any()
    # What marked the copy is inside the step that now stands for the host.
    latents = copy.prior([1, 2])
    assert torch.equal(strong.replace("post", None).sample(latents), copy.sample(latents))


def test_the_effort_is_a_share_of_the_methods_steps(host, images, ctx):
    seen = []

    class Counting(Perfect):
        def fit(self, host, images, ctx):
            seen.append(self.params.steps)
            return super().fit(host, images, ctx)

    method = Counting(Hidden.Params(bits=8, steps=40))
    opened = {"host": host, "clean": images.read(np.arange(4)), "trainer": method}
    copies = run(Overwrite(Overwrite.Params()), host.generator, [1.0, 0.01, 0.25], ctx, **opened)
    assert list(copies) == [0.01, 0.25, 1.0]
    assert seen == [1, 10, 40]
    attack = Overwrite(Overwrite.Params())
    assert [attack.steps(setting(method, strength=s)) for s in (0.01, 0.25, 1.0)] == seen


def test_overwriting_needs_a_number_of_steps():
    attack = Overwrite(Overwrite.Params())
    assert attack.refuse(setting(Hidden(Hidden.Params()), strength=1.0)) is None
    assert "no number of steps" in attack.refuse(setting(Perfect(Perfect.Params()))).reason


def test_distillation_approaches_the_copy_from_fresh_weights(host, ctx):
    copy = host.generator
    attack = Distil(Distil.Params(learning_rate=3e-2))
    students = run(attack, copy, [40.0, 4.0], ctx, host=host)
    assert list(students) == [4.0, 40.0]
    assert torch.equal(flat(students[4.0]), flat(run(attack, copy, [4.0], ctx, host=host)[4.0]))
    latents = copy.prior(list(range(32)))

    def distance(generator):
        return (generator.sample(latents).float() - copy.sample(latents).float()).abs().mean()

    fresh = host.component.untrained(host.state, ctx)
    assert distance(students[40.0]) < distance(students[4.0]) < distance(fresh)
    assert distance(students[40.0]) < 0.3 * distance(fresh)
    student = students[40.0].steps["generator"]
    assert student is not copy.steps["generator"]
    assert not student.training
    assert not any(p.requires_grad for p in student.parameters())
    assert attack.steps(setting(Perfect(Perfect.Params()), strength=40.0)) == 40


def test_the_student_is_a_generator_of_the_hosts_kind_whatever_marks_the_copy(host, ctx):
    ((_, student),) = run(Distil(Distil.Params()), marked(host), [1.0], ctx, host=host).items()
    assert list(student.steps) == ["generator"]


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (Prune, {"structure": "layer"}),
        (Quantise, {"per": "weight"}),
        (FineTune, {"ema": 1.0}),
        (FineTune, {"learning_rate": 0.0}),
        (Purify, {"steps": 0}),
        (Purify, {"learning_rate": math.nan}),
        (Distil, {"learning_rate": -1.0}),
        (WeightNoise, {"sigma": 0.1}),
    ],
)
def test_wrong_parameters_are_refused(cls, wrong):
    with pytest.raises(ValidationError):
        cls.Params(**wrong)


def test_an_attack_cannot_use_what_it_did_not_declare(host):
    attack = WeightNoise(WeightNoise.Params())
    assert attack.access == {Access.COPY}
    with pytest.raises(ContractError, match="weight-noise"):
        _ = surface(attack, host.generator, host).public_host


@pytest.fixture
def chain():
    rng = torch.Generator().manual_seed(4)
    layers = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 16), nn.Tanh())
    layers += nn.Sequential(nn.Linear(16, 48), nn.Unflatten(1, (3, 4, 4)))
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) / 5)
    return ChainGenerator({"generator": layers}, 8, CPU)


def columns(copy, layer):
    return parameters(copy)["generator", f"{layer}.weight"]


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_permuted_channels_draw_the_same_images_from_other_weights(spread, chain, ctx):
    attack = PermuteChannels(PermuteChannels.Params(spread=spread))
    ((strength, changed),) = run(attack, chain, [None], ctx).items()
    latents = chain.prior(range(64))
    assert strength is None
    assert (changed.sample(latents).int() - chain.sample(latents).int()).abs().max() <= 1
    before, after = columns(chain, 0), columns(changed, 0)
    cosines = nn.functional.cosine_similarity(after[:, None], before[None], dim=2)
    # Every filter of the first layer is there again, elsewhere, and as it was without a spread.
    assert torch.allclose(cosines.max(dim=1).values, torch.ones(24))
    assert sorted(cosines.argmax(dim=1).tolist()) == list(range(24))
    assert cosines.argmax(dim=1).tolist() != list(range(24))
    factors = after.norm(dim=1) / before[cosines.argmax(dim=1)].norm(dim=1)
    assert factors.log().std().item() == pytest.approx(spread, abs=0.1 + 0.25 * spread)


def test_signs_are_changed_behind_an_odd_activation_alone(chain, ctx):
    ((_, changed),) = run(PermuteChannels(PermuteChannels.Params()), chain, [None], ctx).items()
    odd = [columns(copy, 4).T for copy in (chain, changed)]  # (16, 48) what reads the Tanh
    cosines = nn.functional.cosine_similarity(odd[1][:, None], odd[0][None], dim=2)
    assert torch.allclose(cosines.abs().max(dim=1).values, torch.ones(16))
    assert 0 < (cosines.abs().argmax(dim=1) == cosines.argmax(dim=1)).sum() < 16
    # No factor passes a Tanh: sizes stay.
    assert torch.allclose(odd[1].norm(dim=1).sort().values, odd[0].norm(dim=1).sort().values)


def test_a_reader_of_invariants_is_not_hurt_and_one_of_places_is_blinded(chain, ctx):
    attack = PermuteChannels(PermuteChannels.Params(spread=0))
    ((_, changed),) = run(attack, chain, [None], ctx).items()
    key = torch.randn(64, 16 * 24, generator=torch.Generator().manual_seed(3))
    before, after = columns(chain, 2), columns(changed, 2)

    def bits(weight):
        return key @ weight.flatten() > 0

    spectrum = [torch.linalg.svdvals(weight) for weight in (before, after)]
    assert torch.allclose(*spectrum, atol=1e-5)
    assert 0.25 < (bits(before) == bits(after)).float().mean() < 0.75


def test_a_network_that_lies_about_its_channels_is_found_out(ctx):
    class Lying(nn.Sequential):
        def channels(self):
            return (Channels(16, outputs("0", self[0])),)

    copy = ChainGenerator(
        {"generator": Lying(nn.Linear(8, 16), nn.Linear(16, 48), nn.Unflatten(1, (3, 4, 4)))},
        8,
        CPU,
    )
    with pytest.raises(ContractError, match=r"expected the same samples .* correct the channels"):
        run(PermuteChannels(PermuteChannels.Params()), copy, [None], ctx)

import numpy as np
import pytest
import torch
from fpbench_coalition.plugin import Collude, ScaleRatio, ScaleReset
from fpbench_model_change.plugin import PermuteChannels
from pydantic import ValidationError
from torch import nn

from fpbench.api import SampleInfo, Setting, Surface, TrainedHost
from fpbench.nn.aligning import aligned
from fpbench.nn.generator import ChainGenerator
from fpbench.nn.modulation import ModulatedConv, fold_constant_style, fold_scale
from fpbench.nn.weights import buffers, exchanged, parameters
from fpbench.stages.context import StageContext
from fpbench.store import Store
from fpbench.testing.fakes import Blind, Perfect, TinyHost

CPU = torch.device("cpu")
INFO = SampleInfo.of_images(16, {})


class Net(nn.Module):
    """Weights, a bias and buffers of every kind, drawn from a seed."""

    def __init__(self, seed):
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.conv = nn.Conv2d(8, 12, 3)
        self.dense = nn.Linear(10, 20)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=rng)
        self.register_buffer("mean", torch.randn(30, generator=rng))
        self.register_buffer("code", torch.rand(4000, generator=rng) < 0.5)
        self.register_buffer("count", torch.randint(0, 4, (4000,), generator=rng))


def generator(module):
    return ChainGenerator({"generator": module}, 8, CPU)


@pytest.fixture
def ctx(tmp_path):
    return StageContext(CPU, (0, "test"), Store(tmp_path))


def tensors(copy):
    return {name: t.numpy() for (_, name), t in {**parameters(copy), **buffers(copy)}.items()}


def collude(copies, ctx, **params):
    attack = Collude(Collude.Params(**params))
    surface = Surface(attack.access, attack.name, copies)
    return tensors(attack.apply(surface, ctx))


def members(count):
    copies = [generator(Net(seed)) for seed in range(count)]
    stacks = {name: np.stack([tensors(c)[name] for c in copies]) for name in tensors(copies[0])}
    return copies, stacks


def floating(stacks):
    return {name: stack for name, stack in stacks.items() if stack.dtype == np.float32}


@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("rule", ["mean", "median"])
def test_numbers_are_merged_as_numpy_does(rule, count, ctx):
    copies, stacks = members(count)
    merged = collude(copies, ctx, rule=rule)
    for name, stack in floating(stacks).items():
        expected = getattr(np, rule)(stack.astype(np.float64), axis=0)
        assert merged[name].dtype == np.float32
        assert np.allclose(merged[name], expected, rtol=1e-6, atol=1e-7)


def test_extremes_are_farthest_from_the_mean(ctx):
    copies, stacks = members(5)
    merged = collude(copies, ctx, rule="extremes")
    for name, stack in floating(stacks).items():
        wide = stack.astype(np.float64)
        farthest = np.abs(wide - wide.mean(axis=0)).argmax(axis=0)
        assert np.array_equal(merged[name], np.take_along_axis(stack, farthest[None], 0)[0])


def test_extremes_of_two_are_a_fair_coin(ctx):
    copies, stacks = members(2)
    merged = collude(copies, ctx, rule="extremes")
    first = merged["conv.weight"] == stacks["conv.weight"][0]
    assert (first | (merged["conv.weight"] == stacks["conv.weight"][1])).all()
    assert abs(first.mean() - 0.5) < 0.06


@pytest.mark.parametrize("rule", ["mean", "median", "extremes"])
def test_bits_follow_the_majority_and_ties_are_drawn(rule, ctx):
    copies, stacks = members(4)
    merged = collude(copies, ctx, rule=rule)
    votes = stacks["code"].sum(axis=0)
    assert merged["code"].dtype == bool
    assert merged["code"][votes > 2].all()
    assert not merged["code"][votes < 2].any()
    assert abs(merged["code"][votes == 2].mean() - 0.5) < 0.05
    counts = np.stack([(stacks["count"] == value).sum(axis=0) for value in range(4)])
    taken = np.take_along_axis(counts, merged["count"][None], 0)[0]
    assert np.array_equal(taken, counts.max(axis=0))
    tied = (counts == 2).sum(axis=0) == 2
    larger = merged["count"][tied] == (counts == 2)[:, tied].cumsum(axis=0).argmax(axis=0)
    assert abs(larger.mean() - 0.5) < 0.06


def test_layers_are_whole_tensors_of_random_members(ctx):
    copies, stacks = members(3)
    attack = Collude(Collude.Params(rule="layers"))
    surface = Surface(attack.access, attack.name, copies)
    taken = []
    for repeat in range(20):
        merged = tensors(attack.apply(surface, ctx.branch("repeat", repeat)))
        for name, stack in stacks.items():
            (member,) = [i for i in range(3) if np.array_equal(stack[i], merged[name])]
            taken.append(member)
    assert np.bincount(taken, minlength=3).min() > 0.2 * len(taken)


@pytest.mark.parametrize("rule", ["mean", "median", "extremes", "layers"])
def test_a_coalition_of_equal_copies_is_one_of_them(rule, ctx):
    copy = generator(Net(1))
    merged = collude([copy, copy, copy], ctx, rule=rule)
    assert all(np.array_equal(merged[name], value) for name, value in tensors(copy).items())


def chain(seed):
    """A plain chain, and buffers that belong to no channel."""
    rng = torch.Generator().manual_seed(seed)
    conv, norm = nn.Conv2d(6, 16, 3, padding=1, bias=False), nn.GroupNorm(4, 16)
    layers = nn.Sequential(nn.Linear(8, 96), nn.ReLU(), nn.Unflatten(1, (6, 4, 4)), conv, norm)
    layers += nn.Sequential(nn.ReLU(), nn.Conv2d(16, 8, 1), nn.Tanh(), nn.Conv2d(8, 3, 1))
    for parameter in layers.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng) / 3
    return generator(layers.requires_grad_(False))


def permuted(copy, ctx):
    attack = PermuteChannels(PermuteChannels.Params(spread=0.7))
    ((_, changed),) = attack.apply(Surface(attack.access, attack.name, [copy]), [None], ctx)
    return changed


def apart(first, second):
    """Mean difference of images, levels."""
    latents = first.prior(range(64))
    return (first.sample(latents).int() - second.sample(latents).int()).abs().float().mean().item()


def merged(copies, ctx, **params):
    attack = Collude(Collude.Params(**params))
    return attack.apply(Surface(attack.access, attack.name, copies), ctx)


def test_the_mean_of_permuted_copies_breaks_images_and_aligning_mends_it(ctx):
    copy = chain(1)
    others = [permuted(copy, ctx.branch("user", user)) for user in range(2)]
    assert apart(copy, merged([copy, *others], ctx)) > 5
    aligned = merged([copy, *others], ctx, align=True)
    assert apart(copy, aligned) < 0.01
    for name, value in tensors(copy).items():
        assert np.allclose(tensors(aligned)[name], value, atol=1e-6)


def test_aligned_copies_of_several_users_merge_as_if_nobody_had_permuted_them(ctx):
    copy, rng = chain(1), torch.Generator().manual_seed(5)
    users = [
        exchanged(
            copy,
            {
                p: v + 0.03 * torch.randn(v.shape, generator=rng)
                for p, v in parameters(copy).items()
            },
        )
        for _ in range(3)
    ]
    moved = [users[0], *(permuted(user, ctx.branch("user", i)) for i, user in enumerate(users[1:]))]
    fair, aligned = merged(users, ctx), merged(moved, ctx, align=True)
    assert apart(fair, aligned) < 0.1 * apart(fair, merged(moved, ctx))
    assert apart(fair, aligned) < 0.5 * apart(fair, users[0])


def test_aligning_changes_no_image_of_a_copy(ctx):
    first, second = chain(1), chain(2)
    assert apart(aligned("test", second, first), second) < 0.01
    assert apart(first, second) > 5


def test_what_is_not_aligned_has_the_label_that_it_had():
    assert Collude.Params().model_dump(mode="json") == {"rule": "mean"}
    said = Collude.Params(align=True).model_dump(mode="json")
    assert Collude.Params.model_validate(said).align


def test_colluding_changes_no_member(ctx):
    copies, stacks = members(3)
    collude(copies, ctx)
    assert all(np.array_equal(stacks[name][0], t) for name, t in tensors(copies[0]).items())


def scaled_pair(demodulate):
    """Two users' networks as amplitude modulation makes them, and what even scales would be."""
    rng = torch.Generator().manual_seed(3)
    base = ModulatedConv(16, 24)
    base.weight.data = torch.randn(24, 16, 3, 3, generator=rng) * 0.1
    scales = [torch.rand(16, generator=rng) * 1.2 + 0.4 for _ in range(2)]
    pair = []
    for scale in scales:
        plain = fold_constant_style(base, scale)
        if not demodulate:
            plain.weight.data = fold_scale(base.weight.detach(), scale)
        pair.append(generator(plain.requires_grad_(False)))
    expected = [parameters(copy)["generator", "weight"].numpy() for copy in pair]
    magnitude = np.sqrt(np.abs(expected[0]) * np.abs(expected[1]))
    return pair, np.sign(expected[0]) * magnitude


def scale_ratio(copies, ctx):
    attack = ScaleRatio(ScaleRatio.Params())
    return tensors(attack.apply(Surface(attack.access, attack.name, copies), ctx))


@pytest.mark.parametrize("demodulate", [False, True])
def test_two_copies_of_scaled_channels_get_the_geometric_mean(demodulate, ctx):
    pair, expected = scaled_pair(demodulate)
    forth, back = scale_ratio(pair, ctx), scale_ratio(pair[::-1], ctx)
    assert not np.allclose(tensors(pair[0])["weight"], tensors(pair[1])["weight"], rtol=0.05)
    assert np.allclose(forth["weight"], expected, rtol=1e-5, atol=0)
    assert np.allclose(forth["weight"], back["weight"], rtol=1e-5, atol=0)


def test_weights_too_small_to_tell_a_ratio_are_left_out_of_the_fit(ctx):
    pair, expected = scaled_pair(demodulate=True)
    spoiled = []
    for copy, noise in zip(pair, (1e-9, -3e-8), strict=True):
        weight = parameters(copy)["generator", "weight"].clone()
        weight[::2, ::3, 0] = noise  # a third of the entries of every other filter
        spoiled.append(exchanged(copy, {("generator", "weight"): weight}))
    merged = scale_ratio(spoiled, ctx)["weight"]
    rest = np.ones(expected.shape, bool)
    rest[::2, ::3, 0] = False
    assert np.allclose(merged[rest], expected[rest], rtol=1e-5, atol=0)
    assert np.abs(merged[~rest]).max() < 1e-7


def test_what_has_no_scale_is_averaged_and_equal_copies_stay(ctx):
    copies, stacks = members(2)
    merged = scale_ratio(copies, ctx)
    for name in ("conv.bias", "dense.bias", "mean"):
        assert np.allclose(merged[name], stacks[name].mean(axis=0), atol=1e-7)
    agreed = stacks["code"][0] == stacks["code"][1]
    assert np.array_equal(merged["code"][agreed], stacks["code"][0][agreed])
    assert abs((merged["code"] == stacks["code"][0])[~agreed].mean() - 0.5) < 0.05
    same = scale_ratio([copies[0], copies[0]], ctx)
    assert all(np.array_equal(same[name], value) for name, value in tensors(copies[0]).items())


def test_a_ratio_takes_two():
    knob = ScaleRatio.strength
    assert knob.grid == (2,)
    assert knob.allows(2)
    assert not knob.allows(3)


def scale_reset(copy, public, ctx, **params):
    host = TrainedHost(TinyHost(TinyHost.Params()), {}, public)
    attack = ScaleReset(ScaleReset.Params(**params))
    surface = Surface(attack.access, attack.name, [copy], _public_host=host)
    return tensors(attack.apply(surface, ctx))


def rescaled(public, change):
    conv = ("generator", "conv.weight")
    return exchanged(public, {conv: change(parameters(public)[conv].clone())})


def test_resetting_undoes_the_factors_of_channels(ctx):
    public = generator(Net(1))
    factors = torch.tensor([0.5, 2.0, 1.0, -1.3, 0.9, 1.1, 0.06, 4.0])
    copy = rescaled(public, lambda w: w * factors[:, None, None])
    reset = scale_reset(copy, public, ctx)
    for name, value in tensors(public).items():
        assert np.allclose(reset[name], value, rtol=1e-6, atol=1e-7)
    untouched = scale_reset(public, public, ctx)
    assert all(np.array_equal(untouched[name], v) for name, v in tensors(public).items())


def test_channels_that_show_no_scale_stay(ctx):
    public = generator(Net(1))
    rng = torch.Generator().manual_seed(9)

    def change(weight):
        weight[:, 0] *= 0.04  # nearly gone
        weight[:, 1] = torch.randn(weight[:, 1].shape, generator=rng)  # another filter
        weight[:, 2] = 0
        weight[:, 3] *= 1.5
        return weight

    copy = rescaled(public, change)
    reset, before, host = scale_reset(copy, public, ctx), tensors(copy), tensors(public)
    assert np.array_equal(reset["conv.weight"][:, :3], before["conv.weight"][:, :3])
    assert np.allclose(reset["conv.weight"][:, 3], host["conv.weight"][:, 3], rtol=1e-6)
    bold = scale_reset(copy, public, ctx, least_factor=0.01)
    assert np.allclose(bold["conv.weight"][:, 0], host["conv.weight"][:, 0], rtol=1e-5)


def test_resetting_needs_a_mark_in_the_hosts_own_layers():
    class Own(Blind):
        builds_on_host = False

    attack, host = ScaleReset(ScaleReset.Params()), TinyHost(TinyHost.Params())
    assert attack.changes_weights
    for cls, reason in ((Own, "no layers"), (Perfect, "does not reach the mark"), (Blind, "")):
        refusal = attack.refuse(Setting(cls(cls.Params()), host, 2, 0, None, INFO))
        assert reason in refusal.reason if reason else refusal is None


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (Collude, {"rule": "mode"}),
        (ScaleRatio, {"floor": 0.0}),
        (ScaleReset, {"least_factor": 0.0}),
        (ScaleReset, {"least_correlation": 1.5}),
    ],
)
def test_wrong_parameters_are_refused(cls, wrong):
    with pytest.raises(ValidationError):
        cls.Params(**wrong)

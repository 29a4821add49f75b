import pytest
import torch
from fpbench_hidden.networks import Embedder
from fpbench_hidden.paper_networks import PaperEmbedder
from fpbench_scalable_gan.networks import (
    CompactEmbedding,
    CompactEntry,
    DenseEntry,
    FingerprintGenerator,
)
from fpbench_stylegan2.networks import CompactGenerator, StyleGAN2Generator
from torch import nn

from fpbench.api import ContractError
from fpbench.api.post import PostStep
from fpbench.nn.chains import channels_of, hidden_channels
from fpbench.nn.channels import Axis, Channels, rearranged
from fpbench.nn.generator import ChainGenerator
from fpbench.nn.stylegan2 import StyleSynthesis
from fpbench.nn.synthesis import SkipSynthesis
from fpbench.nn.weights import exchanged, reachable
from fpbench.testing.networks import LinearImages

WIDTHS = [24, 20, 16]


def compact_host():
    return CompactGenerator(image_size=16, latent_dim=6, channels=12, embedding_dim=10)


def paper_host():
    return StyleGAN2Generator(
        image_size=16,
        latent_dim=6,
        widths=WIDTHS,
        embedding_dim=10,
        mapping_layers=3,
        normalise=True,
    )


def compact_user():
    entry = CompactEntry(latent_dim=6, hidden_dim=14, channels=12)
    synthesis = SkipSynthesis(image_size=16, channels=12, style_dim=10)
    whole = FingerprintGenerator(entry, CompactEmbedding(4, 10), synthesis, 10)
    return whole.folded(torch.ones(4, dtype=torch.bool))


def paper_user():
    entry = DenseEntry(latent_dim=6, channels=WIDTHS[0])
    synthesis = StyleSynthesis(image_size=16, widths=WIDTHS, style_dim=10)
    nn.init.constant_(synthesis.convs[0].strength, 0.5)  # noise there, none in the other layers
    whole = FingerprintGenerator(entry, CompactEmbedding(4, 10), synthesis, 10)
    return whole.folded(torch.ones(4, dtype=torch.bool))


def chain():
    return nn.Sequential(
        nn.Linear(6, 32),
        nn.LeakyReLU(0.2),
        nn.Unflatten(1, (8, 2, 2)),
        nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU()),
        nn.Conv2d(16, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.Tanh(),
        nn.Conv2d(6, 6, 1),
        nn.Identity(),
        nn.Conv2d(6, 5, 1),
        nn.GELU(),
        nn.Upsample(scale_factor=2),
        nn.Flatten(),
        nn.Linear(5 * 16, 7),
        nn.Softsign(),
        nn.Linear(7, 12),
    )


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tensors this small gain nothing from threads, and lose much where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(1)
        yield


def generator(module):
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if name.rpartition(".")[2] in ("bias", "running_mean", "running_var"):
            tensor.data = torch.rand_like(tensor) + 0.5  # nothing may hide behind a zero
    return ChainGenerator({"generator": module.requires_grad_(False)}, 6, torch.device("cpu"))


def changed(copy, step, group, *, scale=1.0, sign=False):
    """The copy with one group moved, multiplied by powers of a scale, and some signs flipped."""
    values = {place: value.double() for place, value in reachable(copy).items()}
    order = torch.arange(group.count)
    if group.moves:
        order = order.view(group.blocks, -1).flip(0, 1).flatten()
    factors = torch.full((group.count,), scale, dtype=torch.float64).pow(
        torch.linspace(-1, 1, group.count)
    )
    if sign:
        factors[::2] *= -1
    return exchanged(copy, rearranged(values, step, group, order, factors))


def drawn(copy):
    return copy.run(torch.randn(5, 6, generator=torch.Generator().manual_seed(2)))


@pytest.mark.parametrize("make", [compact_host, paper_host, compact_user, paper_user, chain])
def test_moved_and_scaled_channels_draw_the_same_images(make):
    copy = generator(make())
    expected, before = drawn(copy), reachable(copy)
    touched = set()
    for step, group in hidden_channels("test", copy):
        other = changed(copy, step, group, scale=3.0 if group.scales else 1.0, sign=group.flips)
        assert torch.allclose(drawn(other), expected, atol=1e-4, rtol=1e-4), group
        touched |= {p for p, value in reachable(other).items() if not torch.equal(value, before[p])}
    # All but what stands for pixels, or is the same for all channels.
    left = {name for _, name in before.keys() - touched}
    assert all(name.endswith((".bias", "noise", "strength")) for name in left), left


@pytest.mark.parametrize("make", [compact_user, paper_user, chain])
def test_other_factors_and_signs_than_those_said_would_draw_others(make):
    copy = generator(make())
    expected = drawn(copy)
    for step, group in hidden_channels("test", copy):
        powers = {axis.power for axis in group.axes}
        if not group.scales and powers & {1, -1}:
            other = changed(copy, step, group, scale=3.0)
            assert not torch.allclose(drawn(other), expected, atol=1e-3)
        if not group.flips and powers & {1, -1}:
            other = changed(copy, step, group, sign=True)
            assert not torch.allclose(drawn(other), expected, atol=1e-3)


def test_which_activations_let_factors_and_signs_through():
    groups = channels_of("test", chain())
    assert [group.count for group in groups] == [8, 16, 6, 6, 5, 7]
    assert [group.scales for group in groups] == [True, True, False, True, False, False]
    assert [group.flips for group in groups] == [False, False, True, True, False, True]
    assert [group.blocks for group in groups] == [1, 4, 1, 1, 1, 1]


def test_a_norm_without_factors_lets_none_in_and_an_activation_may_stand_twice():
    tanh = nn.Tanh()
    layers = [nn.Linear(6, 32), tanh, nn.Linear(32, 32), tanh, nn.Unflatten(1, (8, 2, 2))]
    layers += [nn.Conv2d(8, 8, 1), nn.GroupNorm(2, 8, affine=False), nn.Conv2d(8, 3, 1)]
    groups = channels_of("test", nn.Sequential(*layers))
    assert [group.count for group in groups] == [32, 8, 8]
    assert [(group.scales, group.flips) for group in groups] == [
        (False, True),
        (False, True),
        (False, False),
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Embedder(bits=4, channels=16, strength=0.5),
        lambda: PaperEmbedder(bits=4, channels=8),
    ],
    ids=["small", "paper"],
)
def test_an_embedder_is_moved_behind_its_images(make):
    embedder = make()
    steps = {"generator": nn.Unflatten(1, (3, 16, 16))}
    steps["post"] = PostStep(embedder.requires_grad_(False), torch.ones(4, dtype=torch.bool))
    copy = ChainGenerator(steps, 768, torch.device("cpu"))
    latents = torch.rand(4, 768, generator=torch.Generator().manual_seed(2)) - 0.5
    expected, found = copy.sample(latents), hidden_channels("test", copy)
    assert {step for step, _ in found} == {"post"}
    for step, group in found:
        other = changed(copy, step, group, scale=2.0, sign=group.flips)
        apart = (other.sample(latents).int() - expected.int()).abs()
        assert apart.max() <= 1
        assert (apart > 0).double().mean() < 1e-3
        assert not torch.equal(
            reachable(other)[step, group.axes[0].tensor],
            reachable(copy)[step, group.axes[0].tensor],
        )


class Unknown(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 4), nn.Linear(4, 12)

    def forward(self, x):
        return self.second(self.first(x).cos())


class Wrong(Unknown):
    def channels(self):
        return (Channels(5, (Axis("first.weight", 0),)),)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Unknown(), "test: step 'generator': expected to know its hidden channels, got a Unknown"),
        (nn.Sequential(nn.Linear(6, 6), Unknown()), "got a Unknown"),
        (LinearImages(16), "give it a method channels"),
        (Wrong(), "got 'first.weight' with 5 entries along dimension 0, whose shape is .4, 6.;"),
        (nn.Sequential(nn.Linear(6, 12), nn.Tanh()), "expected hidden channels .* got none"),
    ],
)
def test_networks_whose_channels_are_not_known_are_refused(module, message):
    with pytest.raises(ContractError, match=message):
        hidden_channels("test", generator(module))

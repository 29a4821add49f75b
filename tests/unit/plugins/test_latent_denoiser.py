"""The own denoiser of `latent-diffusion`: its loss, its sampling, its training."""

import pytest
import torch
from fpbench_latent_diffusion.denoising import Denoiser, Transformer, velocity_error
from fpbench_latent_diffusion.fitting import opened_denoiser, trained_denoiser
from fpbench_latent_diffusion.plugin import LatentDiffusion
from tiny_autoencoders import saved_chain
from torch import nn

from fpbench.api import ContractError, Offer, SampleInfo
from fpbench.api.packing import pack
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.nn.chains import channels_of
from fpbench.nn.channels import rearranged
from fpbench.nn.weights import exchanged, reachable
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store

CPU = torch.device("cpu")
TINY = {"sampler": "denoiser", "images": 32, "width": 16, "depth": 2, "heads": 2, "patch": 2}
TINY |= {"steps": 6, "batch": 8, "sampling_steps": 3, "learning_rate": 3e-3, "decay": 0.9}


class ClassFaces(ToyFaces):
    """Image i is of class i % 3."""

    def info(self):
        plain = super().info()
        return SampleInfo.of_images(plain.size, plain.counts, "classes")

    def conditions(self, split, indices):
        return [int(i) % 3 for i in indices]


def stream(kind=ToyFaces):
    return SplitStream(kind(kind.Params(train=64)), "train", CPU)


def context(folder, stop_after=None, **settings):
    calls = iter(range(10**6))

    def progress(done, total, text):
        if stop_after is not None and next(calls) == stop_after:
            raise KeyboardInterrupt

    settings = {"key": "56" * 32, "on_progress": progress, **settings}
    return StageContext(CPU, (0, "fit", 0), Store(folder), **settings)


@pytest.fixture
def ctx(tmp_path):
    return context(tmp_path / "store")


@pytest.fixture
def places(tmp_path):
    return saved_chain(tmp_path)


def host_of(places, **params):
    return LatentDiffusion(LatentDiffusion.Params(**places, **(TINY | params)))


def params_of(**params):
    return LatentDiffusion.Params(autoencoder="none", **(TINY | params))


# -- the flow -------------------------------------------------------------------------------------


class TwoPoints(nn.Module):
    """The exact velocity where data are +1 or -1 in every place, each half of the time.

    E[data | x_t] = tanh(t <x_t, 1> / (1 - t)^2), from the two normal densities of x_t.
    """

    def forward(self, x, times, classes=None):
        t = times.view(-1, 1, 1, 1)
        if classes is None or bool((classes < 0).all()):
            found = torch.tanh(t * x.sum((1, 2, 3), keepdim=True) / (1 - t).square())
        else:
            found = (2.0 * classes - 1).view(-1, 1, 1, 1)
        return (found - x) / (1 - t)


SPREAD = torch.tensor([0.5, 2.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)


@pytest.mark.parametrize("steps", [20, 40])
def test_the_exact_velocity_leads_to_the_points(steps):
    noise = torch.randn(64, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    # Euler's last step goes to E[data | x_t] itself.
    denoiser = Denoiser(TwoPoints(), SPREAD, steps=steps, solver="euler", guidance=1.0)
    drawn = denoiser(noise)
    ends = (2 * noise.sum((1, 2, 3)).sign() + 0.5).view(-1, 1, 1, 1).expand_as(drawn)
    assert ((drawn - ends).abs() < 0.02).float().mean() > 0.95


def test_heun_is_of_second_order():
    class Growing(nn.Module):
        def forward(self, x, times, classes=None):
            return x + 0 * times.view(-1, 1, 1, 1)

    noise = torch.ones(1, 1, 2, 2)
    plain = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)])
    errors = {}
    for solver in ("euler", "heun"):
        for steps in (10, 20):
            drawn = Denoiser(Growing(), plain, steps=steps, solver=solver, guidance=1.0)(noise)
            errors[solver, steps] = float((drawn - torch.e).abs().max())
    assert 1.8 < errors["euler", 10] / errors["euler", 20] < 2.2
    assert 3.6 < errors["heun", 10] / errors["heun", 20] < 4.4


def test_guidance_goes_beyond_the_class():
    latents = {"noise": torch.zeros(2, 1, 2, 2), "class": torch.tensor([0, 1])}
    plain = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)])
    # From noise 0 the velocity of no class is 0, that of a class leads to -1 or +1.
    for guidance in (0.0, 1.0, 3.0):
        drawn = Denoiser(TwoPoints(), plain, steps=1, solver="euler", guidance=guidance)(latents)
        assert torch.allclose(drawn[:, 0, 0, 0], guidance * torch.tensor([-1.0, 1.0]))


def test_the_loss_is_zero_at_the_right_velocity_alone():
    data, noise = torch.randn(2, 5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    times = torch.linspace(0.1, 0.9, 5)

    def right(x, t, classes):
        t = t.view(-1, 1, 1, 1)
        assert torch.allclose(x, (1 - t) * noise + t * data)
        return data - noise

    assert velocity_error(right, data, noise, times, None) == 0
    error = velocity_error(lambda x, t, c: right(x, t, c) + 0.5, data, noise, times, None)
    assert torch.isclose(error, torch.tensor(0.25))


# -- the network ----------------------------------------------------------------------------------


def moved(network):
    """No layer begins with zeros any more."""
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=rng))
    return network


def small_network(classes=0):
    return Transformer((3, 4, 6), classes=classes, patch=2, width=16, depth=2, heads=2)


def test_the_network_begins_without_velocity():
    network = small_network(classes=2)
    x = torch.randn(2, 3, 4, 6)
    assert torch.equal(network(x, torch.rand(2), torch.tensor([0, 1])), torch.zeros_like(x))


def test_tokens_come_back_to_their_places():
    network = moved(small_network())
    x = torch.randn(1, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    y = x.clone().requires_grad_(True)
    for block in network.blocks:  # without attention, a token depends on its own pixels alone
        nn.init.zeros_(block.join.weight)
    network(y, torch.tensor([0.5]))[0, :, 2:4, 4:6].sum().backward()
    seen = y.grad[0].abs().sum(0) > 0
    expected = torch.zeros(4, 6, dtype=torch.bool)
    expected[2:4, 4:6] = True
    assert torch.equal(seen, expected)


def test_times_classes_and_all_pixels_reach_the_velocity():
    network = moved(small_network(classes=2))
    x = torch.randn(1, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    half, zero = torch.tensor([0.5]), torch.tensor([0])
    base = network(x, half, zero)
    assert not torch.allclose(base, network(x, half + 0.1, zero), atol=1e-3)
    assert not torch.allclose(base, network(x, half, zero + 1), atol=1e-3)
    assert not torch.allclose(base, network(x, half, zero - 1), atol=1e-3)
    assert torch.equal(network(x, half), network(x, half, zero - 1))
    y = x.clone().requires_grad_(True)
    network(y, half, zero)[0, 0, 0, 0].backward()
    assert (y.grad.abs().amax(1) > 0).all()


def test_an_image_does_not_depend_on_its_batch_and_gradients_come_through():
    network = moved(small_network(classes=3))
    spread = torch.stack([torch.zeros(3, 4, 6), torch.ones(3, 4, 6)])
    denoiser = Denoiser(network, spread, steps=3, solver="heun", guidance=2.0)
    noise = torch.randn(6, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    asked = torch.arange(6) % 3
    noise.requires_grad_(True)
    drawn = denoiser({"noise": noise, "class": asked})
    alone = denoiser({"noise": noise[4:5], "class": asked[4:5]})
    torch.testing.assert_close(drawn[4:5], alone, rtol=1e-4, atol=1e-4)
    drawn[4].sum().backward()
    assert noise.grad[4].abs().sum() > 0
    assert noise.grad[:4].abs().sum() == 0


def test_hidden_channels_change_places_without_effect():
    denoiser = Denoiser(
        moved(small_network()), torch.ones(2, 3, 4, 6), steps=2, solver="euler", guidance=1.0
    )
    groups = channels_of("a test", denoiser)
    assert [group.count for group in groups] == [64, 64]
    assert not any(group.scales for group in groups)
    from fpbench.nn.generator import ChainGenerator

    generator = ChainGenerator({"denoiser": denoiser}, 0, CPU)
    x = torch.randn(2, 3, 4, 6)
    before, other = generator.run(x), generator
    for group in groups:
        order, ones = torch.arange(64).flip(0), torch.ones(64)
        changes = rearranged(reachable(other), "denoiser", group, order, ones)
        other = exchanged(other, changes)
    torch.testing.assert_close(before, other.run(x), rtol=1e-4, atol=1e-4)


# -- its training ---------------------------------------------------------------------------------


def fitted(latents, ctx, classes=None, **params):
    p = params_of(**params)
    state = trained_denoiser(latents, classes, nn.Identity(), p, ctx)
    return opened_denoiser("a test", state, p)


def test_two_points_are_learnt(ctx):
    """Data are +3 or -1 in all places: samples end near one or the other."""
    signs = torch.tensor([1.0, -1.0]).repeat(32)
    latents = (1 + 2 * signs).view(-1, 1, 1, 1).expand(64, 3, 2, 2).contiguous()
    sizes = {"width": 32, "patch": 1, "heads": 2, "steps": 200, "batch": 32}
    rates = {"learning_rate": 3e-3, "decay": 0.95, "sampling_steps": 20, "solver": "heun"}
    denoiser = fitted(latents, ctx, **sizes, **rates)
    noise = torch.randn(200, 3, 2, 2, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        means = denoiser(noise).mean((1, 2, 3))
    near = torch.minimum((means - 3).abs(), (means + 1).abs()) < 0.4
    assert near.float().mean() > 0.9
    assert 0.3 < (means > 1).float().mean() < 0.7


def test_classes_are_learnt(ctx):
    """Class 0 is at -1, class 1 at +1: noise of a class goes to its own point."""
    classes = torch.arange(64) % 2
    latents = (2.0 * classes - 1).view(-1, 1, 1, 1).expand(64, 3, 2, 2).contiguous()
    sizes = {"width": 32, "patch": 1, "heads": 2, "steps": 150, "batch": 64, "dropped": 0.2}
    rates = {"learning_rate": 3e-3, "decay": 0.9, "sampling_steps": 10}
    denoiser = fitted(latents, ctx, classes, **sizes, **rates)
    noise = torch.randn(100, 3, 2, 2, generator=torch.Generator().manual_seed(5))
    asked = torch.arange(100) % 2
    with torch.no_grad():
        means = denoiser({"noise": noise, "class": asked}).mean((1, 2, 3))
    assert ((means > 0) == (asked == 1)).float().mean() > 0.95


def test_the_velocity_error_falls(places, tmp_path):
    ctx = context(tmp_path / "store")
    points = []
    ctx.curve = lambda name, step, values: points.append(values["loss"])
    host_of(places, steps=201, batch=32).fit(stream(), ctx)
    assert points[0] == pytest.approx(2, rel=0.15)  # noise and data of variance 1, no velocity
    assert sum(points[-3:]) / 3 < 0.8 * points[0]


@pytest.mark.parametrize("kind", [ToyFaces, ClassFaces])
def test_the_training_resumes_bit_by_bit(kind, places, tmp_path, monkeypatch):
    monkeypatch.setattr(StageContext, "checkpoint_due", lambda self: True)
    host, images = host_of(places), stream(kind)
    whole = host.fit(images, context(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        host.fit(images, context(tmp_path / "cut", stop_after=3))
    resumed = host.fit(images, context(tmp_path / "cut"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    assert whole["denoiser.network.out.weight"].abs().sum() > 0


def test_a_batch_in_pieces_gives_the_same_gradient(places, tmp_path, monkeypatch):
    seen = []

    def step(self):
        seen.append([p.grad.clone() for g in self.param_groups for p in g["params"]])

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    for accumulation in (1, 4):
        ctx = context(tmp_path / str(accumulation), accumulation=accumulation)
        host_of(places, steps=1).fit(stream(ClassFaces), ctx)
    whole, cut = seen
    assert sum(float(g.abs().sum()) for g in whole) > 0
    for one, other in zip(whole, cut, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_it_trains_in_16_bits_and_keeps_its_weights_in_32(places, tmp_path):
    ctx = context(tmp_path / "store", precision="bf16")
    state = host_of(places).fit(stream(ClassFaces), ctx)
    floats = [tensor for tensor in state.values() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in floats} == {torch.float32}
    assert all(torch.isfinite(tensor).all() for tensor in floats)


# -- the host -------------------------------------------------------------------------------------


def test_noise_goes_through_the_denoiser_and_the_decoder(places, ctx):
    host = host_of(places)
    assert host.offers == frozenset(Offer) - {Offer.GAUSSIAN}
    state = host.fit(stream(), ctx)
    generator = host.assemble(state, ctx)
    assert list(generator.steps) == ["denoiser", "decoder"]
    assert generator.output == "decoder"
    noise = generator.prior([4, 5])
    assert noise.shape == (2, 4, 8, 8)
    assert torch.equal(noise[1:], generator.prior([5]))
    assert generator.sample(noise).shape == (2, 3, 32, 32)
    again = host.unpack(pack("a test", generator), ctx)
    assert torch.equal(generator.sample(noise), again.sample(again.prior([4, 5])))
    fresh = host.untrained(state, ctx)
    assert torch.equal(fresh.run(noise, until="decoder"), generator.run(noise, until="decoder"))
    assert not torch.equal(fresh.sample(noise), generator.sample(noise))


def test_classes_reach_the_images(places, ctx):
    host, images = host_of(places, steps=30), stream(ClassFaces)
    generator = host.assemble(host.fit(images, ctx), ctx)
    one, other = generator.prior([4, 5], [0, 2]), generator.prior([4, 5], [1, 2])
    assert torch.equal(one["noise"], other["noise"])
    assert one["class"].tolist() == [0, 2]
    drawn, asked_otherwise = generator.sample(one), generator.sample(other)
    assert not torch.equal(drawn[0], asked_otherwise[0])
    assert (drawn[1].int() - asked_otherwise[1].int()).abs().max() <= 1
    chosen = generator.prior(range(40))["class"]
    assert set(chosen.tolist()) == {0, 1, 2}
    assert torch.equal(chosen[7:9], generator.prior([7, 8])["class"])
    with pytest.raises(ContractError, match="classes from 0 to 2, which it was trained on, got 3"):
        generator.prior([1], [3])
    again = host.unpack(pack("a test", generator), ctx)
    assert torch.equal(drawn, again.sample(again.prior([4, 5], [0, 2])))
    other = generator.replace("decoder", nn.Identity())
    assert torch.equal(other.prior([7, 8])["class"], chosen[7:9])


def test_images_are_encoded_for_the_decoder_alone(places, ctx):
    host, images = host_of(places), stream()
    state = host.fit(images, ctx)
    assert host.encode(state, images.read(range(2)), ctx, "decoder").shape == (2, 4, 8, 8)
    for step in (None, "denoiser"):
        with pytest.raises(ContractError, match=r"is noise, .* ask for 'decoder'"):
            host.encode(state, images.read(range(2)), ctx, step)


def test_files_of_other_copies_are_refused(places, ctx):
    host = host_of(places)
    packed = pack("a test", host.assemble(host.fit(stream(), ctx), ctx))
    with pytest.raises(ContractError, match="the weights of a copy of these parameters"):
        host_of(places, width=32).unpack(packed, ctx)
    with pytest.raises(ContractError, match="step 'components', got denoiser"):
        host_of(places, sampler="gaussian").unpack(packed, ctx)
    del packed["denoiser/_extra_state"]
    with pytest.raises(ContractError, match="expected the spread of latents"):
        host.unpack(packed, ctx)


def test_sizes_that_do_not_fit_are_objected_to(places):
    info = SampleInfo.of_images(32, {"train": 64, "test": 64})
    assert not host_of(places).objection(info)
    assert "multiple of the denoiser's patch, 3, got 8" in host_of(places, patch=3).objection(info)
    with pytest.raises(ValueError, match="no multiple of `heads`"):
        host_of(places, width=15)

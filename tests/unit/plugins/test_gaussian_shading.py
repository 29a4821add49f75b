import pytest
import torch
from fpbench_gaussian_shading.plugin import GaussianShading
from fpbench_gaussian_shading.shading import Shading, decode, encrypted, shaded, slopes
from fpbench_pipeline.plugin import Bypass, Resample, SwapStep
from scipy import stats
from torch import nn

from fpbench.api import (
    ContractError,
    Evidence,
    Host,
    NoParams,
    SampleInfo,
    Setting,
    Surface,
    TrainedHost,
    User,
)
from fpbench.api.images import to_float
from fpbench.nn.generator import ChainGenerator
from fpbench.stages.context import StageContext
from fpbench.store import Store

CPU = torch.device("cpu")
LATENTS, COUNT = 32, 400
INFO = SampleInfo.of_images(LATENTS, {})


class Stripes(nn.Module):
    def forward(self, latents):
        return (latents / 5)[:, None, :, None].expand(-1, 3, -1, LATENTS)


class StripeHost(Host[NoParams]):
    """Row d of an image is latent d; `encode` finds the first of them and knows no others."""

    name = "stripes"
    found = LATENTS

    def fit(self, images, ctx):
        return {}

    def assemble(self, state, ctx):
        return ChainGenerator({"generator": Stripes()}, LATENTS, CPU)

    def encode(self, state, samples, ctx, step=None):
        latents = 5 * to_float(samples).mean((1, 3))
        latents[:, self.found :] = 0
        return latents


@pytest.fixture
def context(tmp_path):
    store = Store(tmp_path)
    return lambda *root, bits=0: StageContext(CPU, (0, *root), store, bits=bits)


@pytest.fixture
def host(context):
    component = StripeHost(NoParams())
    return TrainedHost(component, {}, component.assemble({}, context("host")))


def fitted(host, context, key="fit", **params):
    method = GaussianShading(GaussianShading.Params(**{"measured": 256, **params}))
    return method, method.fit(host, None, context(key, bits=method.bits))


def issued(method, state, host, code, ctx):
    kept = method.issue(state, host, User(0, torch.tensor(code)), None, ctx)
    return kept, method.assemble(state, host, kept, ctx)


def bits(method, state, host, copy, ctx, first=0):
    images = copy.sample(copy.prior(range(first, first + COUNT)))
    return method.extract(state, host, Evidence(images), ctx) > 0


CODE = [True, False, False, True, True, True, False, True]


def test_codes_are_read_under_the_owners_key_alone(host, context):
    method, state = fitted(host, context, bits=8)
    ctx, code = context("issue"), torch.tensor(CODE)
    kept, copy = issued(method, state, host, CODE, ctx)
    assert state["accuracy"] > 0.99
    assert (bits(method, state, host, copy, ctx) == code).float().mean() > 0.99
    _, other = fitted(host, context, key="another key", bits=8)
    wrong = (bits(method, other, host, copy, ctx) == code).float().mean(1)
    assert (wrong == 1).float().mean() < 0.1
    assert not (kept["codewords"] == state["pads"]).all(1).any()


def test_dropping_the_sampler_or_the_latents_leaves_coins(host, context):
    method, state = fitted(host, context)
    ctx = context("attack")
    codes = [[bool(n >> k & 1) for k in range(4)] for n in range(16)]
    for attack in (Bypass(NoParams()), Resample(NoParams())):
        shares = []
        for code in codes:
            _, copy = issued(method, state, host, code, ctx)
            surface = Surface(attack.access, attack.name, [copy], _public_host=host)
            attacked = attack.apply(surface, ctx)
            read = bits(method, state, host, attacked, ctx)
            shares.append((read == torch.tensor(code)).float().mean())
        assert abs(torch.stack(shares).mean() - 0.5) < 1e-6  # each reading meets all codes
        assert max(shares) < 0.6
    refusal = SwapStep(SwapStep.Params()).refuse(Setting(method, host.component, 2, 0, 0.5, INFO))
    assert "does not reach the mark" in refusal.reason


def test_a_stream_is_chosen_whatever_the_code():
    rng = torch.Generator().manual_seed(0)
    log_odds = torch.randn(COUNT, LATENTS, generator=rng)
    pads = torch.randint(0, 2, (16, LATENTS), generator=rng).bool()
    code = torch.tensor([True, False, True, True])
    logits = decode(log_odds, pads, 4)
    flipped = decode(log_odds, encrypted(code, pads), 4)
    assert torch.equal(flipped, torch.where(code, -logits, logits))
    # So an innocent's code meets fair coins although the best of 16 streams is taken.
    codes = torch.randint(0, 2, (COUNT, 4), generator=rng).bool()
    whole = ((logits > 0) == codes).all(1).sum().item()
    assert stats.binomtest(whole, COUNT, 1 / 16).pvalue > 0.01


def test_the_stream_with_the_surest_votes_is_read():
    pads = torch.tensor([[False, True, True, False], [False, True, False, True]])
    code = torch.tensor([True, False])
    signs = encrypted(code, pads)
    log_odds = torch.where(signs, 2.0, -2.0)
    assert decode(log_odds, pads, 2).tolist() == [[4, -4], [4, -4]]


def test_marked_latents_are_normal_over_streams_and_depend_on_their_seed_alone(host, context):
    method, state = fitted(host, context, streams=64)
    _, copy = issued(method, state, host, [True, False, True, False], context("issue"))
    latents = copy.prior(range(64))  # one of each stream
    assert stats.kstest(latents.flatten().numpy(), "norm").pvalue > 0.01
    assert torch.equal(latents.abs(), host.generator.prior(range(64)).abs())
    assert torch.equal(copy.prior([2**62 + 5, 7])[1:], latents[7:8])
    # Whoever has many of one copy sees its patterns: here those of one stream.
    again = copy.prior(range(0, 640, 64))
    assert torch.equal(again > 0, latents[:1].expand(10, -1) > 0)


def test_latents_of_any_shape_are_marked():
    codewords = torch.rand(3, 24, generator=torch.Generator().manual_seed(0)) > 0.5
    latents = torch.randn(5, 2, 3, 4, generator=torch.Generator().manual_seed(1))
    marked = Shading(codewords)(latents, torch.arange(5))
    assert torch.equal(marked.flatten(1) > 0, codewords[[0, 1, 2, 0, 1]])
    assert torch.equal(marked, shaded(latents, codewords[[0, 1, 2, 0, 1]]))


def test_slopes_are_those_of_a_probit_at_the_origin():
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn(200_000, 1, generator=rng)
    found = 3 * (0.6 * latents + 0.8 * torch.randn(latents.shape, generator=rng))
    near = (found.abs() - 0.5).abs() < 0.1
    right = ((latents > 0) == (found > 0))[near].float().mean()
    assert torch.logit(right) == pytest.approx(0.5 * slopes(latents, found).item(), rel=0.05)


def test_what_is_lost_on_the_way_counts_for_nothing(host, context):
    host.component.found = 16
    _, state = fitted(host, context)
    assert state["right"][:16].min() > 0.95
    assert state["slopes"][16:].abs().max() == 0
    assert state["accuracy"] > 0.99


@pytest.mark.parametrize(
    ("found", "params", "message"),
    [
        (0, {}, r"leaves a bit accuracy of 0\.9, got 0\.5.* take fewer bits"),
        (4, {"bits": 32}, r"got 0\.\d+ for 32 bits in 8 streams \(0\.\d+ of the latents'"),
        (LATENTS, {"bits": 33}, "got a host with 32; set bits to 32 or less"),
    ],
)
def test_a_host_that_cannot_carry_the_bits_is_refused(host, context, found, params, message):
    host.component.found = found
    with pytest.raises(ContractError, match=message):
        fitted(host, context, **params)


def test_latents_that_are_not_finite_are_refused(host, context, monkeypatch):
    monkeypatch.setattr(StripeHost, "encode", lambda *args: torch.full((256, LATENTS), torch.nan))
    with pytest.raises(ContractError, match="host stripes: expected finite latents of images"):
        fitted(host, context)

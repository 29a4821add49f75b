import numpy as np
import pytest
import torch
from fpbench_adversarial.learning import Detector, opened
from fpbench_adversarial.plugin import Average, EmbedderLeak, Surrogate
from fpbench_adversarial.pushing import erased, flipped, push, unseen
from pydantic import ValidationError
from skimage.metrics import peak_signal_noise_ratio

from fpbench.api import Access, Surface, tier_of
from fpbench.api.images import to_float, to_uint8
from fpbench.api.post import PostStep
from fpbench.builtin.toy_faces.faces import draw
from fpbench.stages.context import StageContext
from fpbench.store import Store
from fpbench.testing.networks import BlockEmbedder, block_contrast

CPU = torch.device("cpu")


@pytest.fixture
def ctx(tmp_path):
    return StageContext(CPU, (0, "test"), Store(tmp_path))


def faces(first, count):
    """(count, 3, 32, 32) uint8 with room for a mark on both sides."""
    drawn = torch.from_numpy(draw(np.arange(first, first + count), 32)).permute(0, 3, 1, 2)
    return drawn // 2 + 64


def uniform(count, value=128):
    return torch.full((count, 3, 16, 16), value, dtype=torch.uint8)


def learnt(attack, surface, tmp_path):
    state = attack.fit(surface, StageContext(CPU, (0, "fit"), Store(tmp_path)))
    return StageContext(CPU, (0, "test"), Store(tmp_path), fitted=state)


class Linear(torch.nn.Module):
    """Reads sums over pixels with given weights (K, D)."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, images):
        return images.flatten(1) @ self.weights.T


def weights(rows=1):
    return torch.randn(rows, 3 * 16 * 16, generator=torch.Generator().manual_seed(3))


# -- descent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 7, 50])
@pytest.mark.parametrize("budget", [1, 4])
def test_against_a_linear_detector_it_is_the_sign_of_the_weights(steps, budget):
    w, images = weights(), uniform(3)
    pushed = push(images, unseen(Linear(w)), budget, steps, 0)
    expected = images.float() - budget * w.sign().reshape(3, 16, 16)
    assert torch.equal(pushed.float(), expected)


def test_against_a_linear_reader_of_one_bit_the_bit_is_turned_or_met():
    w = weights()
    images = torch.cat([to_uint8(sign * 0.02 * w.sign().reshape(1, 3, 16, 16)) for sign in (1, -1)])
    before = Linear(w)(to_float(images))[:, 0]
    assert before[0] > 0 > before[1]
    after = Linear(w)(to_float(push(images, flipped(Linear(w)), 8, 20, 0)))[:, 0]
    assert after[0] < 0 < after[1]
    near = Linear(w)(to_float(push(images, erased(Linear(w)), 8, 20, 0)))[:, 0]
    assert (near.abs() < before.abs() / 2).all()


@pytest.mark.parametrize("psnr", [0, 30, 38, 45])
def test_budget_and_floor_hold(psnr):
    images = faces(0, 6)
    images[0], images[1] = 0, 255  # there is no room on one side
    network = Linear(torch.randn(5, 3 * 32 * 32, generator=torch.Generator().manual_seed(4)))
    for aim in (flipped(network), erased(network)):
        pushed = push(images, aim, 8, 10, psnr)
        far = (pushed.int() - images.int()).abs()
        assert far.max() <= 8
        assert all(far.flatten(1).any(1))
        found = [
            peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=255)
            for a, b in zip(images, pushed, strict=True)
        ]
        assert min(found) >= psnr - 1e-6


def test_where_nothing_pulls_nothing_moves():
    still = Linear(torch.zeros(2, 3 * 16 * 16))
    for aim in (unseen(still), flipped(still), erased(still)):
        assert torch.equal(push(uniform(2), aim, 8, 5, 30), uniform(2))


# -- what is learnt --------------------------------------------------------------------------------


def stripes():
    """(32, 32) of ±6."""
    return 6 * (1 - 2 * (torch.arange(32) // 2 % 2)).expand(32, 32)


def surrogate_surface(attack, clean, marked):
    return Surface(
        attack.access, attack.name, _clean_images=clean, _marked_images=lambda n: marked[:n]
    )


def test_a_surrogate_takes_the_mark_of_other_images_away(tmp_path):
    attack = Surrogate(Surrogate.Params(steps=120, channels=16, marked=128))
    marked = (faces(0, 128).int() + stripes()).to(torch.uint8)
    ctx = learnt(attack, surrogate_surface(attack, faces(200, 128), marked), tmp_path)
    network = opened(ctx.fitted, 1, 16, ctx)
    shown = (faces(400, 32).int() + stripes()).to(torch.uint8)
    with torch.no_grad():
        assert (network(to_float(shown)) > 0).float().mean() > 0.95
        assert (network(to_float(faces(500, 32))) < 0).float().mean() > 0.95
    pushed = attack.apply(shown, range(32), 8.0, ctx)
    with torch.no_grad():
        assert (network(to_float(pushed)) < 0).all()

    def found(images):
        return ((images.float() - images.float().mean((2, 3), keepdim=True)) * stripes()).mean()

    assert found(pushed) < 0.8 * found(shown)  # the stripes themselves, which it was never told
    assert torch.equal(attack.apply(shown, range(32), 0.0, ctx), shown)


def test_the_network_is_as_small_as_its_card_says():
    count = sum(p.numel() for p in Detector(16, 32).parameters())
    assert 0.15e6 < count < 0.25e6


def leaked_surface(attack, clean, bits=4):
    def embed(images, code):
        return to_uint8(PostStep(BlockEmbedder(bits, torch.tensor([0.03])), code)(images))

    return Surface(attack.access, attack.name, _clean_images=clean, _embed=embed, _bits=bits)


def test_with_the_embedder_codes_are_turned_without_the_reader(tmp_path):
    params = EmbedderLeak.Params(steps=150, channels=16, marked=256, codes=16)
    attack = EmbedderLeak(params)
    surface = leaked_surface(attack, faces(0, 64))
    with torch.no_grad():
        code = torch.tensor([True, False, False, True])
        shown = surface.embed(faces(300, 16), code)
        other = surface.embed(faces(300, 16), ~code)
    ctx = learnt(attack, surface, tmp_path)
    pushed = attack.apply(shown, range(16), 8.0, ctx)
    signs = code.float() * 2 - 1
    before, after, turned = (block_contrast(x, 4) * signs for x in (shown, pushed, other))
    assert (after < before).all()
    assert (after - before).mean() < 0.25 * (turned - before).mean()  # of the way to its opposite


@pytest.mark.parametrize("count", [1, 5])
def test_few_images_that_are_all_alike_teach_nothing_and_break_nothing(count, tmp_path):
    attack = Surrogate(Surrogate.Params(steps=3, channels=8, marked=4))
    alike = uniform(count)
    ctx = learnt(attack, surrogate_surface(attack, alike, alike.repeat(4, 1, 1, 1)), tmp_path)
    pushed = attack.apply(alike, range(count), 2.0, ctx)
    assert (pushed.int() - alike.int()).abs().max() <= 2
    assert attack.apply(alike[:0], [], 2.0, ctx).shape == (0, 3, 16, 16)


# -- averages --------------------------------------------------------------------------------------


def test_one_pattern_on_all_images_is_taken_away(tmp_path):
    attack = Average(Average.Params(sigma=0, marked=40))
    pattern = torch.from_numpy(np.random.default_rng(5).integers(-9, 10, (3, 32, 32)))
    marked = (faces(0, 40).int() + pattern).to(torch.uint8)
    ctx = learnt(attack, surrogate_surface(attack, faces(0, 40), marked), tmp_path)
    shown = (faces(100, 8).int() + pattern).to(torch.uint8)
    assert torch.equal(attack.apply(shown, range(8), 1.0, ctx), faces(100, 8))
    assert torch.equal(attack.apply(shown, range(8), 0.0, ctx), shown)
    twice = attack.apply(shown, range(8), 2.0, ctx)
    assert torch.equal(twice.int(), faces(100, 8).int() - pattern)


def test_without_the_smooth_part_other_pictures_do_as_well(tmp_path):
    attack = Average(Average.Params(marked=200))
    marked = (faces(0, 200).int() + stripes()).to(torch.uint8)
    ctx = learnt(attack, surrogate_surface(attack, faces(300, 200), marked), tmp_path)
    from scipy.ndimage import gaussian_filter

    own = stripes().double().numpy()
    expected = own - gaussian_filter(own, 1, mode="mirror", truncate=6)
    found = ctx.fitted["residual"].double().numpy()
    assert np.corrcoef(found.mean(0).ravel(), expected.ravel())[0, 1] > 0.97
    assert found.std() == pytest.approx(expected.std(), rel=0.2)


# -- what they hold --------------------------------------------------------------------------------


def test_who_holds_images_alone_and_who_holds_the_embedder():
    for cls in (Surrogate, Average):
        attack = cls(cls.Params())
        assert tier_of(attack, attack.steps(None)) == "samples"
        assert Access.MARKED in attack.access
    leaked = EmbedderLeak(EmbedderLeak.Params())
    assert tier_of(leaked, leaked.steps(None)) == "training"
    assert [c(c.Params()).steps(None) for c in (Surrogate, Average)] == [400, 0]


def test_pushing_has_an_end():
    with pytest.raises(ValidationError):
        Surrogate.Params(pgd_steps=51)
    with pytest.raises(ValidationError):
        Surrogate.Params(psnr=-1.0)

import numpy as np
import pytest
import torch
from fpbench_forgery.plugin import CopyResidual, LeakedCode, ReEmbed
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from fpbench.api import Access, ContractError, Surface
from fpbench.api.images import to_uint8
from fpbench.api.post import PostStep
from fpbench.stages.context import StageContext
from fpbench.store import Store
from fpbench.testing.networks import BlockEmbedder, block_contrast

CPU = torch.device("cpu")


@pytest.fixture
def ctx(tmp_path):
    return StageContext(CPU, (0, "test"), Store(tmp_path))


def smooth_images(count, seed):
    """(count, 3, 32, 32) uint8 between 40 and 215, without fine detail."""
    noise = np.random.default_rng(seed).normal(size=(count, 3, 32, 32))
    values = gaussian_filter(noise, (0, 0, 3, 3), mode="mirror")
    values *= 30 / values.std()
    return torch.from_numpy((128 + values).clip(40, 215).round().astype(np.uint8))


def pattern():
    """(3, 32, 32) of ±6, a new sign in every pixel."""
    signs = np.random.default_rng(5).integers(0, 2, (3, 32, 32))
    return torch.from_numpy(signs * 12 - 6)


def marked(images):
    return (images.int() + pattern()).to(torch.uint8)


class Victim:
    def __init__(self, images):
        self.images = images
        self.asked = []

    def __call__(self, count):
        self.asked.append(count)
        return self.images[:count]


def residual_forgery(victim, clean, strength, ctx, **params):
    attack = CopyResidual(CopyResidual.Params(**params))
    surface = Surface(attack.access, attack.name, _target_images=victim)
    return attack.apply(surface, clean, strength, ctx)


@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_the_residual_is_the_mean_of_what_smoothing_takes_away(gain, ctx):
    victim, clean = marked(smooth_images(300, 1)), smooth_images(4, 2)
    before = clean.clone()
    forged = residual_forgery(Victim(victim), clean, 300.0, ctx, gain=gain)
    values = victim.numpy().astype(np.float64)
    smooth = gaussian_filter(values, (0, 0, 1, 1), mode="mirror", truncate=6)
    residual = gain * (values - smooth).mean(axis=0)
    expected = (clean.numpy() + residual).round().clip(0, 255)
    assert forged.dtype == torch.uint8
    assert np.abs(forged.numpy() - expected).max() <= 1  # rounding of ties
    assert (forged.numpy() == expected).mean() > 0.98
    assert torch.equal(clean, before)


def test_more_images_recover_a_fixed_pattern_better(ctx):
    victim, clean = Victim(marked(smooth_images(200, 1))), smooth_images(4, 2)
    noisy = victim.images.int() + torch.randint(
        -20, 21, victim.images.shape, generator=torch.Generator().manual_seed(1)
    )
    victim.images = noisy.clamp(0, 255).to(torch.uint8)
    target = pattern().double()
    target -= torch.from_numpy(gaussian_filter(target.numpy(), (0, 1, 1), mode="mirror"))
    found = []
    for strength in (1.0, 10.0, 200.0):
        added = residual_forgery(victim, clean, strength, ctx).double() - clean.double()
        both = torch.stack([added.mean(0).flatten(), target.flatten()])
        found.append(float(torch.corrcoef(both)[0, 1]))
    assert victim.asked == [1, 10, 200]
    assert found[0] + 0.2 < found[1] < found[2]
    assert found[2] > 0.97


def embedder_surface(attack, bits=16, code=None):
    def embed(images, code):
        assert code.dtype == torch.bool
        return to_uint8(PostStep(BlockEmbedder(bits, torch.tensor([0.25])), code)(images))

    return Surface(attack.access, attack.name, _embed=embed, _target_code=code, _bits=bits)


def test_an_own_code_is_put_into_clean_images(ctx):
    attack, clean = ReEmbed(ReEmbed.Params()), smooth_images(6, 2)
    with torch.no_grad():
        forged = attack.apply(embedder_surface(attack), clean, None, ctx)
        again = attack.apply(embedder_surface(attack), clean, None, ctx)
        other = attack.apply(embedder_surface(attack), clean, None, ctx.branch("other"))
    read = block_contrast(forged, 16) > 0
    assert forged.shape == clean.shape
    assert (read == read[0]).all()
    assert torch.equal(forged, again)
    assert not torch.equal(forged, other)


def test_a_leaked_code_is_read_in_the_forgery(ctx):
    attack, clean = LeakedCode(LeakedCode.Params()), smooth_images(6, 2)
    code = torch.rand(16, generator=torch.Generator().manual_seed(4)) < 0.5
    with torch.no_grad():
        forged = attack.apply(embedder_surface(attack, code=code), clean, None, ctx)
    assert ((block_contrast(forged, 16) > 0) == code).all()


def test_only_the_leak_opens_the_victims_code():
    code = torch.ones(16, dtype=torch.bool)
    attack = ReEmbed(ReEmbed.Params())
    with pytest.raises(ContractError, match=Access.TARGET_CODE):
        _ = embedder_surface(attack, code=code).target_code


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [(CopyResidual, {"gain": 0.0}), (ReEmbed, {"code": 1}), (LeakedCode, {"code": 1})],
)
def test_wrong_parameters_are_refused(cls, wrong):
    with pytest.raises(ValidationError):
        cls.Params(**wrong)

import pytest
import torch
from fpbench_scalable_gan.networks import FingerprintGenerator
from fpbench_scalable_gan.training import consistency_loss

from fpbench.nn.images import to_uint8
from fpbench.nn.modulation import modulated_convs


def _generator(size):
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        return FingerprintGenerator(
            image_size=size,
            latent_dim=6,
            hidden_dim=16,
            bits=12,
            embedding_dim=8,
            channels=16,
            code_gain=0.3,
        ).eval()


@pytest.mark.parametrize("size", [32, 64])
def test_folded_copy_draws_what_the_generator_draws_under_the_code(size):
    generator = _generator(size)
    rng = torch.Generator().manual_seed(1)
    latents, code = torch.randn(16, 6, generator=rng), torch.rand(12, generator=rng) < 0.5
    with torch.no_grad():
        expected = generator(latents, code.expand(16, -1)) / 4
        found = generator.folded(code)(latents) / 4
    assert (found - expected).abs().max() < 1e-4
    levels = (to_uint8(found).int() - to_uint8(expected).int()).abs()
    assert levels.max() <= 1
    assert (levels > 0).float().mean() <= 1e-3


def test_folded_copy_holds_no_modulation_and_no_code_input():
    copy = _generator(32).folded(torch.ones(12, dtype=torch.bool))
    assert not modulated_convs(copy)
    assert not [k for k in copy.state_dict() if "affine" in k or "embed" in k]


def test_codes_change_the_image_and_their_absence_is_the_mean_style():
    generator = _generator(32)
    latents = torch.randn(1, 6)
    first = generator(latents, torch.ones(1, 12, dtype=torch.bool))
    second = generator(latents, torch.zeros(1, 12, dtype=torch.bool))
    assert consistency_loss(first, second) > 1e-4
    assert generator.without_code(latents).shape == first.shape


def test_consistency_loss_falls_as_two_codes_come_to_give_the_same_image():
    first, second = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    values = [
        consistency_loss(first, first.lerp(second, share)).item() for share in (1.0, 0.5, 0.1, 0.0)
    ]
    assert values == sorted(values, reverse=True)
    assert values[-1] == 0


def test_code_and_image_parameters_are_all_and_disjoint():
    generator = _generator(32)
    groups = [generator.code_parameters(), generator.image_parameters()]
    names = {id(p) for group in groups for p in group}
    assert len(names) == sum(map(len, groups)) == len(list(generator.parameters()))

import pytest
import torch
from fpbench_scalable_gan.params import ScalableGANParams
from fpbench_scalable_gan.training import build, build_reader, consistency_loss

from fpbench.api.images import to_uint8
from fpbench.nn.modulation import modulated_convs

BOTH = ["compact", "stylegan2"]


def _params(architecture):
    return ScalableGANParams(
        architecture=architecture,
        bits=12,
        channels=16,
        hidden_dim=16,
        embedding_dim=8,
        mapping_layers=2,
        reader_channels=8,
    )


def _generator(size, architecture="compact"):
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        generator = build(size, 6, _params(architecture)).eval()
        if architecture == "stylegan2":
            # What a training would have learnt: mapping and noise start without effect.
            for layer in generator.embed.layers:
                torch.nn.init.normal_(layer.bias, std=50)
            for layer in generator.synthesis.convs:
                layer.strength.data.fill_(0.2)
    return generator


@pytest.mark.parametrize("architecture", BOTH)
@pytest.mark.parametrize("size", [32, 64])
def test_folded_copy_draws_what_the_generator_draws_under_the_code(size, architecture):
    generator = _generator(size, architecture)
    rng = torch.Generator().manual_seed(1)
    latents, code = torch.randn(16, 6, generator=rng), torch.rand(12, generator=rng) < 0.5
    with torch.no_grad():
        expected = generator(latents, code.expand(16, -1)) / 4
        found = generator.folded(code)(latents) / 4
    assert (found - expected).abs().max() < 1e-4
    levels = (to_uint8(found).int() - to_uint8(expected).int()).abs()
    assert levels.max() <= 1
    assert (levels > 0).float().mean() <= 1e-3


@pytest.mark.parametrize("architecture", BOTH)
def test_folded_copy_holds_no_modulation_and_no_code_input(architecture):
    copy = _generator(32, architecture).folded(torch.ones(12, dtype=torch.bool))
    assert not modulated_convs(copy)
    assert not [k for k in copy.state_dict() if "affine" in k or "embed" in k]


@pytest.mark.parametrize("architecture", BOTH)
def test_codes_change_the_image_and_their_absence_is_the_mean_style(architecture):
    generator = _generator(32, architecture)
    latents = torch.randn(1, 6)
    first = generator(latents, torch.ones(1, 12, dtype=torch.bool))
    second = generator(latents, torch.zeros(1, 12, dtype=torch.bool))
    assert consistency_loss(first, second) > 1e-6
    assert generator.without_code(latents).shape == first.shape


def test_consistency_loss_falls_as_two_codes_come_to_give_the_same_image():
    first, second = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    values = [
        consistency_loss(first, first.lerp(second, share)).item() for share in (1.0, 0.5, 0.1, 0.0)
    ]
    assert values == sorted(values, reverse=True)
    assert values[-1] == 0


@pytest.mark.parametrize("architecture", BOTH)
def test_code_and_image_parameters_are_all_and_disjoint(architecture):
    generator = _generator(32, architecture)
    groups = [generator.code_parameters(), generator.image_parameters()]
    names = {id(p) for group in groups for p in group}
    assert len(names) == sum(map(len, groups)) == len(list(generator.parameters()))


@pytest.mark.parametrize("architecture", BOTH)
def test_reader_reads_an_image_alone_as_in_a_batch(architecture):
    reader = build_reader(32, 6, _params(architecture)).train()
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        latent, logits = reader(images)
        assert (latent.shape, logits.shape) == ((4, 6), (4, 12))
        for alone, among in zip(reader(images[:1]), (latent, logits), strict=True):
            torch.testing.assert_close(alone, among[:1], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(reader.logits(images), logits)

import pytest
import torch
from fpbench_stylegan2.params import StyleGAN2Params
from fpbench_stylegan2.training import build, build_discriminator

from fpbench.nn.modulation import modulated_convs


def params(architecture, **more):
    return StyleGAN2Params(
        architecture=architecture, latent_dim=8, channels=8, embedding_dim=8, **more
    )


@pytest.mark.parametrize("architecture", ["compact", "stylegan2"])
@pytest.mark.parametrize("size", [32, 64])
def test_generator_maps_latents_to_images(size, architecture):
    generator = build(params(architecture), size)
    images = generator(torch.randn(4, 8))
    assert images.shape == (4, 3, size, size)
    assert modulated_convs(generator)
    assert build_discriminator(params(architecture), size)(images).numel() == 4


@pytest.mark.parametrize("architecture", ["compact", "stylegan2"])
def test_radius_of_a_paired_latent_matters(architecture):
    generator = build(params(architecture), 32).eval()
    latents = torch.randn(1, 8)
    assert (generator(latents) - generator(2 * latents)).abs().mean() > 1e-4


def test_radius_of_a_latent_of_a_host_from_noise_does_not():
    generator = build(params("stylegan2", pair_steps=0), 32).eval()
    latents = torch.randn(1, 8)
    torch.testing.assert_close(generator(latents), generator(2 * latents))

import pytest
import torch
from fpbench_stylegan2.networks import HostGenerator

from fpbench.nn.modulation import modulated_convs


@pytest.mark.parametrize("size", [32, 64])
def test_generator_maps_latents_to_images(size):
    generator = HostGenerator(image_size=size, latent_dim=8, channels=8, embedding_dim=8)
    assert generator(torch.randn(2, 8)).shape == (2, 3, size, size)
    assert modulated_convs(generator)


def test_radius_of_a_latent_matters():
    generator = HostGenerator(image_size=32, latent_dim=8, channels=8, embedding_dim=8)
    latents = torch.randn(1, 8)
    assert (generator(latents) - generator(2 * latents)).abs().mean() > 1e-3

import pytest
import torch
from fpbench_weight_modulation.networks import CodeModulation, fold
from torch import nn

from fpbench.api.images import to_uint8
from fpbench.nn.modulation import modulated_convs, scaled_styles
from fpbench.nn.synthesis import SkipSynthesis


class Network(nn.Module):
    """A host of another kind than the in-tree one; only its modulated layers are known."""

    def __init__(self, size):
        super().__init__()
        self.style = nn.Linear(6, 8)
        self.start = nn.Parameter(torch.randn(16, 4, 4))
        self.synthesis = SkipSynthesis(image_size=size, channels=16, style_dim=8)

    def forward(self, latents):
        return self.synthesis(self.start.expand(len(latents), -1, -1, -1), self.style(latents))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        yield


@pytest.mark.parametrize("size", [32, 64])
def test_folded_copy_draws_what_the_modulated_network_draws(size):
    network = Network(size)
    convs = modulated_convs(network)
    widths = [conv.in_channels for conv in convs.values()]
    modulation = CodeModulation(bits=12, channels=widths, embedding_dim=8, gain=0.3)
    latents, code = torch.randn(16, 6), torch.rand(1, 12) < 0.5
    with torch.no_grad():
        with scaled_styles(list(convs.values()), modulation(code)):
            expected = network(latents) / 4
        copy = fold(network, [scale[0] for scale in modulation(code)])
        found = copy(latents) / 4
    assert (found - expected).abs().max() < 1e-4
    levels = (to_uint8(found).int() - to_uint8(expected).int()).abs()
    assert levels.max() <= 1
    assert (levels > 0).float().mean() <= 1e-3


def test_folded_copy_has_the_layers_of_the_host_and_no_code():
    network = Network(32)
    widths = [conv.in_channels for conv in modulated_convs(network).values()]
    modulation = CodeModulation(bits=12, channels=widths, embedding_dim=8, gain=0.3)
    copy = fold(network, [scale[0] for scale in modulation(torch.ones(1, 12, dtype=torch.bool))])
    assert {k: v.shape for k, v in copy.state_dict().items()} == {
        k: v.shape for k, v in network.state_dict().items()
    }


def test_scales_start_near_one():
    modulation = CodeModulation(bits=32, channels=[200], embedding_dim=64, gain=0.3)
    (scales,) = modulation(torch.rand(64, 32) < 0.5)
    assert scales.mean().item() == pytest.approx(1, abs=0.03)
    assert scales.std().item() == pytest.approx(0.3, abs=0.05)

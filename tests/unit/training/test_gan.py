"""The discriminator's steps, against gradients written out by hand."""

import pytest
import torch
from torch.nn import functional

from fpbench.api.images import to_float
from fpbench.stages.context import StageContext
from fpbench.store import Store
from fpbench.training import TrainingRun
from fpbench.training.gan import teach_discriminator

KEY = "bc" * 32


class Counted(torch.optim.SGD):
    """Keeps the gradient of every step it takes."""

    def __init__(self, parameters):
        super().__init__(parameters, lr=0.0)
        self.seen = []

    def step(self, closure=None):
        self.seen.append(self.param_groups[0]["params"][0].grad.clone())


def judge():
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(48, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
        )


def teach(tmp_path, steps, pieces=1, gamma=10.0):
    cpu, store = torch.device("cpu"), Store(tmp_path)
    ctx = StageContext(cpu, (0, "fit"), store, key=KEY, accumulation=pieces)
    network = judge()
    optimiser = Counted(network.parameters())
    generator = torch.Generator().manual_seed(1)
    real = torch.randint(0, 256, (8, 3, 4, 4), generator=generator, dtype=torch.uint8)
    fakes = torch.rand(8, 3, 4, 4, generator=generator) * 2 - 1
    with TrainingRun(ctx, "gan", steps=steps, modules={}, optimisers={}) as run:
        for step in run:
            made = [fakes[piece] for piece in run.pieces(8)]
            teach_discriminator(
                run, network, optimiser, real, made, step=step, penalty_weight=gamma
            )
    return optimiser.seen, real, fakes


def test_both_steps_have_the_gradients_of_the_paper(tmp_path):
    (judged, penalised), real, fakes = teach(tmp_path, 1)
    network = judge()
    first = network[1].weight
    loss = functional.softplus(-network(to_float(real))).mean()
    loss = loss + functional.softplus(network(fakes)).mean()
    torch.testing.assert_close(judged, torch.autograd.grad(loss, first)[0])
    # gamma / 2 |grad|^2 (Mescheder et al. 2018), times 16 for the steps without it.
    images = to_float(real).requires_grad_()
    (slope,) = torch.autograd.grad(network(images).sum(), images, create_graph=True)
    penalty = 16 * 10 / 2 * slope.square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(penalised, torch.autograd.grad(penalty, first)[0])


def test_r1_is_a_step_of_its_own_in_one_of_sixteen(tmp_path):
    assert len(teach(tmp_path / "a", 33)[0]) == 33 + 3
    assert len(teach(tmp_path / "b", 33, gamma=0.0)[0]) == 33


@pytest.mark.parametrize("pieces", [2, 3, 8])
def test_pieces_have_the_gradients_of_the_whole(tmp_path, pieces):
    whole, _, _ = teach(tmp_path / "whole", 1)
    cut, _, _ = teach(tmp_path / "cut", 1, pieces)
    for one, other in zip(whole, cut, strict=True):
        torch.testing.assert_close(other, one)

import numpy as np
import pytest
import torch

from fpbench.api import ContractError
from fpbench.plan import is_reserved
from fpbench.stages.context import StageContext
from fpbench.stages.interrupt import Interrupt
from fpbench.store import Store

KEY = "ef" * 32


@pytest.fixture
def make(tmp_path):
    def context(*root, **options):
        return StageContext(torch.device("cpu"), root or (0, "fit", 0), Store(tmp_path), **options)

    return context


def test_draws_depend_on_root_purpose_and_indices_alone(make):
    def draw(ctx, *args):
        return torch.randn(3, generator=ctx.rng(*args)).tolist()

    assert draw(make(), "a", 1) == draw(make(), "a", 1)
    different = [draw(make(), "a", 1), draw(make(), "a", 2), draw(make(), "b", 1)]
    different += [draw(make(1, "fit", 0), "a", 1)]
    assert len({tuple(d) for d in different}) == 4


def test_image_draws_belong_to_the_image(make):
    a, b = make().image_rng(3).random(4), make().image_rng(np.int64(3)).random(4)
    assert (a == b).all()
    assert (a != make().image_rng(4).random(4)).all()


def test_image_seeds_are_those_of_splitmix64():
    from fpbench.stages.context import _ImageSeed, _splitmix64

    # First output for the state 1234567, from the reference implementation's test vector.
    assert _splitmix64(np.array([1234567], dtype=np.uint64))[0] == 6457827717110365317
    a, b = (
        _ImageSeed(5, 1).generate_state(3, np.uint64),
        _ImageSeed(5, 2).generate_state(3, np.uint64),
    )
    assert len({*a.tolist(), *b.tolist()}) == 6


def test_uniforms_of_many_images_are_those_of_each(make):
    ctx, indices = make(), [0, 3, 1_000_001]
    each = np.array([ctx.image_rng(i).random(5) for i in indices])
    assert (ctx.image_uniforms(indices, 5) == each).all()


def test_draws_of_neighbouring_images_are_independent(make):
    ctx = make()
    draws = np.array([ctx.image_rng(i).random(2) for i in range(4000)])
    assert draws.mean(axis=0) == pytest.approx([0.5, 0.5], abs=0.025)
    lagged = np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]
    assert abs(lagged) < 0.08
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.08


def test_a_branch_draws_on_its_own(make):
    ctx = make()
    one, two = ctx.branch("part", 0), ctx.branch("part", 1)
    draws = {tuple(c.image_rng(3).random(2)) for c in (ctx, one, two, make().branch("part", 0))}
    assert len(draws) == 3


def test_training_codes_are_never_reserved(make):
    ctx = make(bits=8)
    codes = ctx.training_codes(4000, ctx.rng("codes"))
    assert codes.shape == (4000, 8)
    assert codes.dtype == torch.bool
    assert not is_reserved(codes.numpy()).any()
    assert codes.float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_codes_are_given_to_trainings_only(make):
    ctx = make()
    with pytest.raises(ContractError, match="harness alone"):
        ctx.training_codes(1, ctx.rng("codes"))


def test_seeded_forks_the_global_generator(make):
    torch.random.default_generator.manual_seed(5)
    expected = torch.randn(2)
    torch.random.default_generator.manual_seed(5)
    with make().seeded("init"):
        inside = torch.randn(2)
    assert torch.equal(torch.randn(2), expected)
    with make().seeded("init"):
        assert torch.equal(torch.randn(2), inside)


def test_the_first_interrupt_stops_after_a_checkpoint(make):
    interrupt = Interrupt()
    ctx = make(key=KEY, interrupt=interrupt)
    ctx.progress(1, 2, "")
    assert not ctx.checkpoint_due()
    interrupt.requested = True
    assert ctx.checkpoint_due()
    with pytest.raises(KeyboardInterrupt):
        ctx.progress(1, 2, "")

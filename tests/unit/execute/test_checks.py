import pytest
import torch

from fpbench.api import ContractError, SampleInfo
from fpbench.api.samples import check_samples
from fpbench.stages.checks import check_generator, check_reading, check_state

IMAGES = SampleInfo.of_images(8, {})
WAVES = SampleInfo("wave", (1, 16), "int16", {})


@pytest.mark.parametrize(
    "bad",
    [
        None,
        torch.zeros(2, 3, 8, 8),
        torch.zeros(2, 3, 8, 9, dtype=torch.uint8),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
    ],
)
def test_images_of_another_kind_are_refused(bad):
    with pytest.raises(ContractError, match=r"who: expected images uint8 \(2, 3, 8, 8\), got"):
        check_samples("who", "images", bad, 2, IMAGES)


@pytest.mark.parametrize(
    "bad",
    [
        [1.0],
        torch.zeros(2, 4, dtype=torch.long),
        torch.zeros(2, 5),
        torch.full((2, 4), torch.nan),
        torch.tensor([[1.0, torch.inf, 0, 0]] * 2),
    ],
)
def test_readings_of_another_kind_are_refused(bad):
    with pytest.raises(ContractError, match=r"who: expected finite floats \(2, 4\), got"):
        check_reading("who", bad, (2, 4))


@pytest.mark.parametrize("bad", [None, {"w": 1}, {"w": torch.tensor([torch.nan])}])
def test_states_of_another_kind_are_refused(bad):
    with pytest.raises(ContractError, match="who: expected"):
        check_state("who", bad)


def test_good_things_pass():
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    assert check_samples("who", "images", images, 2, IMAGES) is images
    waves = torch.zeros(2, 1, 16, dtype=torch.int16)
    assert check_samples("who", "waves", waves, 2, WAVES) is waves
    logits = torch.zeros(2, 4)
    assert check_reading("who", logits, (2, 4)) is logits


def test_floats_are_refused_with_what_they_hold():
    with pytest.raises(ContractError, match="with NaN or infinity"):
        check_samples("attack x", "images", torch.full((1, 3, 8, 8), torch.nan), 1, IMAGES)
    with pytest.raises(ContractError, match=r"in \[-1, -1\]"):
        check_samples("attack x", "images", torch.full((1, 3, 8, 8), -1.0), 1, IMAGES)


def test_attacked_weights_must_be_finite():
    from fpbench.nn.generator import ChainGenerator

    layer = torch.nn.Linear(2, 2)
    good = ChainGenerator({"generator": layer}, 2, torch.device("cpu"))
    assert check_generator("attack x", good) is good
    with torch.no_grad():
        layer.bias[0] = torch.inf
    with pytest.raises(ContractError, match=r"attack x: .* NaN or infinity in 'generator.bias'"):
        check_generator("attack x", good)
    with pytest.raises(ContractError, match="attack x: expected a generator, got int"):
        check_generator("attack x", 3)

import pytest
import torch

from fpbench.api import ContractError
from fpbench.execute.checks import check_images, check_logits, check_state


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
        check_images("who", bad, 2, 8)


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
def test_logits_of_another_kind_are_refused(bad):
    with pytest.raises(ContractError, match=r"who: expected finite float logits \(2, 4\), got"):
        check_logits("who", bad, 2, 4)


@pytest.mark.parametrize("bad", [None, {"w": 1}, {"w": torch.tensor([torch.nan])}])
def test_states_of_another_kind_are_refused(bad):
    with pytest.raises(ContractError, match="who: expected"):
        check_state("who", bad)


def test_good_things_pass():
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    assert check_images("who", images, 2, 8) is images
    logits = torch.zeros(2, 4)
    assert check_logits("who", logits, 2, 4) is logits

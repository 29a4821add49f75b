import math

import pytest
import simulated_ranks as truth


@pytest.mark.parametrize("deviations", [(0.005,) * 3, (0.02,) * 3, (0.005, 0.02, 0.04)])
@pytest.mark.parametrize("trainings", [3, 5])
def test_equal_methods_are_called_different_no_more_often_than_the_level(deviations, trainings):
    found = truth.false_ranks(deviations, trainings, 300, seed=1)
    assert found <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


def test_copies_alone_would_call_retrained_methods_different():
    assert truth.false_ranks((0.02,) * 3, 3, 100, seed=1, copies_alone=True) > 0.4


def test_a_large_difference_is_found_in_three_trainings():
    assert truth.power(0.08, 0.02, 3, 200, seed=1) > 0.85

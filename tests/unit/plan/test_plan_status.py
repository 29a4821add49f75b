"""What a plan says of what it will do: how much of everything, and what its bits can never say."""

import pytest

from fpbench import stats
from fpbench.plan.status import _never


@pytest.mark.parametrize("bits", [1, 4, 8, 12, 16, 20, 24, 32, 48, 64, 128, 512])
@pytest.mark.parametrize("rate", [1e-1, 1e-2, 1e-3, 1e-6])
def test_what_bits_can_never_support_is_what_the_exact_rule_says(bits, rate):
    for registered in (2, 10, 65, 66, 100, 1000, 10**4, 10**6, 10**9):
        said = "not supported" in _never(bits, registered, rate)
        assert said != stats.supports(bits, registered, rate)


def test_the_largest_number_that_is_said_is_supported_and_one_more_is_not():
    assert "16 bits tell at most 65 apart" in _never(16, 100, 1e-3)
    assert stats.supports(16, 65, 1e-3)
    assert not stats.supports(16, 66, 1e-3)
    assert _never(2048, 10**6, 1e-3) == ""


def test_a_plan_says_the_defaults_that_hold(command, suite_file, tmp_path):
    suite = suite_file(("[negatives]\nreal = 20\nhost = 20\nattacked_host = 10\n", ""))
    suite.write_text(suite.read_text().replace("test = 64", "test = 1200"))
    code, out, _ = command("-p", "fpbench.testing.fakes", "plan", suite, "--runs", tmp_path)
    assert code == 0
    assert "data      toy-faces, 64 train, 1,200 test, 64 reference" in out
    assert "copies    5 of each method, 4 images of each and 2 at shared latents" in out
    assert "negatives 1,000 real, 1,000 of the host, 250 under each model attack" in out
    assert "trainings 1 of each method; ranks take 3 (-s 0..2)" in out

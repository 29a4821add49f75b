import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from simulated_truth import leaning_bits
from sklearn.metrics import matthews_corrcoef

from fpbench.stats import correlations, null_bits


def drawn(seed, images, bits, ones=0.5):
    return np.random.default_rng(seed).random((images, bits)) < ones


def test_correlations_equal_numpy_s_and_scikit_learn_s():
    bits = leaning_bits(np.random.default_rng(0), 200, 12)
    found = correlations(bits)
    np.testing.assert_allclose(found, np.corrcoef(bits.T.astype(float)), atol=1e-12)
    assert found[3, 7] == pytest.approx(matthews_corrcoef(bits[:, 3], bits[:, 7]), abs=1e-12)


def test_equal_and_opposite_bits_correlate_exactly_and_constant_ones_not_at_all():
    bit = drawn(1, 37, 1, 0.3)
    off = np.zeros_like(bit)
    one, nan = [1, 1, -1, math.nan], [math.nan] * 4
    expected = [one, one, [-1, -1, 1, math.nan], nan]
    np.testing.assert_array_equal(correlations(np.hstack([bit, bit, ~bit, off])), expected)


@given(
    images=st.integers(2, 40),
    bits=st.integers(2, 10),
    ones=st.sampled_from([0.1, 0.5, 0.8]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=80, deadline=None)
def test_summary_equals_the_pairs_of_changing_bits_looked_at_one_by_one(images, bits, ones, seed):
    read = drawn(seed, images, bits, ones)
    found = null_bits(read)
    changing = [bit for bit in read.T if 0 < bit.sum() < images]
    pairs = [
        stats.pearsonr(a, b).statistic if images > 2 else 1.0
        for i, a in enumerate(changing)
        for b in changing[:i]
    ]
    assert found.images == images
    assert found.constant == bits - len(changing)
    np.testing.assert_allclose(found.ones, [bit.sum() / images for bit in read.T])
    assert found.largest_bias == pytest.approx(max(abs(share - 0.5) for share in found.ones))
    if pairs:
        assert found.square_correlation == pytest.approx(np.mean(np.square(pairs)), abs=1e-9)
        assert found.largest_correlation == pytest.approx(max(map(abs, pairs)), abs=1e-9)
    else:
        assert math.isnan(found.square_correlation)
        assert math.isnan(found.largest_correlation)
    assert 0 <= found.effective_bits <= len(changing)


def test_effective_bits_are_the_participation_ratio_of_the_eigenvalues():
    bits = leaning_bits(np.random.default_rng(2), 40_000, 24)
    values = np.linalg.eigvalsh(np.corrcoef(bits.T.astype(float)))
    expected = values.sum() ** 2 / (values**2).sum()
    assert expected < 12
    # What sampling is taken for is a forty-thousandth of 24 pairs here.
    assert null_bits(bits).effective_bits == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("repeated", [1, 2, 8])
def test_bits_that_are_copied_count_once(repeated):
    bits = np.repeat(drawn(3, 20_000, 8), repeated, axis=1)
    bits[:, ::3] ^= True
    assert null_bits(bits).effective_bits == pytest.approx(8, rel=0.01)


@pytest.mark.parametrize("ones", [0.5, 0.2])
def test_independent_bits_have_the_square_correlation_by_chance_even_in_few_images(ones):
    found = [null_bits(drawn(seed, 40, 60, ones)) for seed in range(60)]
    squares = [one.square_correlation for one in found]
    error = np.std(squares) / math.sqrt(len(squares))
    assert np.mean(squares) == pytest.approx(found[0].square_correlation_by_chance, abs=4 * error)
    assert np.mean([one.effective_bits for one in found]) > 55
    assert 60 / (1 + 59 * np.mean(squares)) < 25  # what it would be without the correction


def test_bits_that_never_change_are_counted_and_left_out():
    found = null_bits(np.hstack([drawn(4, 5000, 6), np.ones((5000, 3), dtype=bool)]))
    assert (found.constant, found.largest_bias) == (3, 0.5)
    assert found.effective_bits == pytest.approx(6, rel=0.02)
    alone = null_bits(np.zeros((5, 2), dtype=bool))
    assert (alone.constant, alone.effective_bits) == (2, 0)
    assert null_bits([[True], [False]]).effective_bits == 1


@pytest.mark.parametrize("call", [null_bits, correlations])
@pytest.mark.parametrize("bits", [[[1, 0], [0, 1]], [[True]], [True, False], np.ones((3, 0), bool)])
def test_anything_but_bits_of_several_images_is_refused_with_what_was_expected(call, bits):
    with pytest.raises(ValueError, match="expected bool"):
        call(bits)

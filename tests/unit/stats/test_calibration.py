import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from fpbench.stats import (
    auroc,
    calibrated_threshold,
    pool,
    score_tail,
    score_threshold,
    yardstick,
)

LAWS = {
    "normal": stats.norm(2, 3),
    "heavy-tailed": stats.t(1.5),
    "integer with ties": stats.binom(16, 0.5),
}


@given(n=st.integers(30, 400), percent=st.integers(10, 60), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_threshold_is_the_order_statistic_of_exact_arithmetic(n, percent, seed):
    scores = np.random.default_rng(seed).normal(size=n)
    j = math.floor(Fraction(percent, 100) * (n + 1))
    found = calibrated_threshold(scores, percent / 100)
    assert found == sorted(scores, reverse=True)[j - 1]
    assert (scores >= found).sum() == j


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("n", "rate"), [(60, 0.05), (150, 0.05), (300, 0.01)])
def test_new_negatives_are_accepted_at_the_rate_at_most_on_average_over_calibration_sets(
    law, n, rate
):
    drawn = LAWS[law].rvs((3000, n), random_state=np.random.default_rng(1))
    realised = LAWS[law].sf([calibrated_threshold(scores, rate) for scores in drawn])
    error = realised.std() / math.sqrt(len(realised))
    exact = math.floor(rate * (n + 1) + 1e-9) / (n + 1)
    assert realised.mean() <= rate + 3 * error
    if law == "integer with ties":
        assert realised.mean() <= exact
    else:
        assert realised.mean() == pytest.approx(exact, abs=4 * error)


def test_rate_of_one_calibration_set_has_the_stated_beta_distribution():
    drawn = np.random.default_rng(2).random((2000, 199))
    realised = [1 - calibrated_threshold(scores, 0.05) for scores in drawn]
    assert stats.kstest(realised, stats.beta(10, 190).cdf).pvalue > 0.01


@pytest.mark.parametrize(("n", "supported"), [(299, False), (300, True), (2999, True)])
def test_three_negatives_above_the_threshold_are_needed(n, supported):
    assert (calibrated_threshold(np.arange(n), 0.01) is not None) == supported
    assert (calibrated_threshold(np.arange(10 * n), 0.001) is not None) == supported


def test_equal_or_infinite_negatives_are_not_accepted_themselves():
    assert calibrated_threshold([1.0] * 50, 0.1) == 1
    assert calibrated_threshold([0.0] * 45 + [math.inf] * 5, 0.1) == math.inf
    assert calibrated_threshold(np.arange(4), 1 - 1e-14) == 0


@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    images=st.integers(1, 5),
    bits=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=80, deadline=None)
def test_pooling_adds_the_logits_of_consecutive_images_of_one_copy(counts, images, bits, seed):
    copies = [np.random.default_rng(seed).normal(size=(count, bits)) for count in counts]
    expected = [
        [sum(copy[start + i] for i in range(images)) for start in range(0, len(copy), images)]
        for copy in (copy[: len(copy) // images * images] for copy in copies)
    ]
    pooled, groups = pool(np.concatenate(copies), counts, images)
    assert groups.tolist() == [len(rows) for rows in expected]
    flat = [row for rows in expected for row in rows]
    np.testing.assert_allclose(pooled, np.reshape(flat, (-1, bits)), atol=1e-12)


def test_the_sign_of_pooled_log_odds_is_the_more_likely_bit():
    rng = np.random.default_rng(3)
    chances = rng.uniform(0.05, 0.95, (40, 3))  # of a one, from each of three images
    logits = np.log(chances / (1 - chances))
    pooled, _ = pool(logits.reshape(-1, 1), [120], 3)
    likely = chances.prod(axis=1) > (1 - chances).prod(axis=1)
    np.testing.assert_array_equal(pooled[:, 0] > 0, likely)


def test_pooling_one_image_changes_nothing_and_too_few_images_make_no_group():
    logits = np.array([[1.0, -2.0], [0.5, 0.25]], dtype=np.float32)
    pooled, groups = pool(logits, [1, 1], 1)
    np.testing.assert_array_equal(pooled, logits)
    assert pooled.dtype == np.float64
    pooled, groups = pool(logits, [1, 1], 2)
    assert (pooled.shape, groups.tolist()) == ((0, 2), [0, 0])


@given(
    positive=st.lists(st.integers(-4, 4), min_size=1, max_size=40),
    negative=st.lists(st.integers(-4, 4), min_size=1, max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_auroc_of_scores_that_tie_agrees_with_scikit_learn(positive, negative):
    labels = [1] * len(positive) + [0] * len(negative)
    expected = roc_auc_score(labels, positive + negative)
    assert auroc(positive, negative) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda: calibrated_threshold([], 0.1),
        lambda: calibrated_threshold([[1.0]], 0.1),
        lambda: calibrated_threshold([1.0, math.nan], 0.1),
        lambda: calibrated_threshold([1.0], 0.0),
        lambda: calibrated_threshold([1.0], 1.0),
        lambda: pool([[1.0]], [1], 0),
        lambda: pool([1.0], [1], 1),
        lambda: pool([[math.inf]], [1], 1),
        lambda: pool([[1.0]], [2], 1),
        lambda: pool([[1.0]], [2, -1], 1),
        lambda: pool([[1.0]], [1.0], 1),
    ],
)
def test_scores_that_do_not_fit_are_refused_with_what_was_expected(call):
    with pytest.raises(ValueError, match="expected"):
        call()


def test_scores_are_accused_by_hand():
    rng = np.random.default_rng(4)
    sources = [rng.normal(3, 2, (90, 5)), rng.normal(1, 4, (120, 5))]
    found = yardstick(sources)
    for column in range(5):
        own = [source[:, column] for source in sources]
        assert found.mean[column] == pytest.approx(max(each.mean() for each in own))
        assert found.deviation[column] == pytest.approx(max(each.std() for each in own))
    units = [(source - found.mean) / found.deviation for source in sources]
    by_hand = [sorted(unit.max(1))[-math.floor(0.05 * (len(unit) + 1))] for unit in units]
    assert score_threshold(sources, 0.05) == pytest.approx(max(by_hand))
    assert score_threshold(sources, 0.05, claim=True) < score_threshold(sources, 0.05)
    assert score_threshold(sources, 0.03) is None  # 90 < 3 / 0.03
    pooled = [unit[: len(unit) // 3 * 3].reshape(-1, 3, 5).mean(1).max(1) for unit in units]
    by_hand = max(sorted(means)[-math.floor(0.1 * (len(means) + 1))] for means in pooled)
    assert score_threshold(sources, 0.1, 3) == pytest.approx(by_hand)


@given(seed=st.integers(0, 2**32 - 1), images=st.integers(1, 2), claim=st.booleans())
@settings(max_examples=50, deadline=None)
def test_a_tail_is_at_most_the_rate_where_the_threshold_is_reached(seed, images, claim):
    rng = np.random.default_rng(seed)
    sources = [rng.integers(0, 9, (n, 3)).astype(float) for n in (80, 130)]
    least = score_threshold(sources, 0.1, images, claim=claim)
    assert score_tail(sources, least, images, claim=claim) <= 0.1
    below = np.nextafter(least, -np.inf)
    assert score_tail(sources, below, images, claim=claim) > 0.1 - 1 / 40


def test_a_column_that_never_changes_never_fires():
    source = np.c_[np.full(60, 7.0), np.random.default_rng(0).normal(size=60)]
    assert (yardstick([source]).standardised(source)[:, 0] == 0).all()
    assert score_tail([source], math.inf) == 1 / 61

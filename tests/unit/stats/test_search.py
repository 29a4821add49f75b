import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from fpbench.api import MissingResource
from fpbench.stats import matches, nearest, open_set, survives, threshold


@given(
    n=st.integers(0, 5), r=st.integers(1, 9), k=st.integers(1, 70), seed=st.integers(0, 2**32 - 1)
)
@settings(max_examples=80, deadline=None)
def test_nearest_equals_all_distances_counted(n, r, k, seed):
    rng = np.random.default_rng(seed)
    readings, codes = rng.random((n, k)) < 0.5, rng.random((r, k)) < 0.5
    table = np.array([[int((x == c).sum()) for c in codes] for x in readings]).reshape(n, r)
    ordered = np.sort(table, axis=1)
    found = nearest(readings, codes)
    np.testing.assert_array_equal(found.match, ordered[:, -1])
    np.testing.assert_array_equal(found.runner_up, ordered[:, -2] if r > 1 else np.full(n, -1))
    np.testing.assert_array_equal(table[np.arange(n), found.index], found.match)


def test_a_tie_of_the_best_shows_as_an_equal_runner_up():
    codes = np.array([[1, 1, 0, 0, 1], [1, 0, 1, 0, 1], [1, 1, 1, 0, 1], [1, 1, 1, 0, 1]], bool)
    found = nearest(codes[:3], codes)
    assert found.match.tolist() == [5, 5, 5]
    assert found.runner_up.tolist() == [4, 4, 5]
    assert found.index.tolist()[:2] == [0, 1]
    assert found.index[2] in (2, 3)


@pytest.fixture(scope="module")
def registry():
    rng = np.random.default_rng(5)
    codes = rng.random((20_000, 32)) < 0.5
    owners = np.arange(4000)
    readings = codes[owners] ^ (rng.random((len(owners), 32)) < 0.15)
    own = (readings == codes[owners]).sum(axis=1)
    return codes, owners, own, nearest(readings, codes)


def test_owners_win_among_real_codes_as_often_as_the_integral_over_codes_says(registry):
    codes, owners, own, found = registry
    won = (found.index == owners) & (found.match > found.runner_up)
    expected = survives(32, own, len(codes) - 1)
    for match in (None, *range(25, 31)):
        these = slice(None) if match is None else own == match
        interval = binomtest(int(won[these].sum()), len(won[these])).proportion_ci(0.999)
        assert interval.low <= expected[these].mean() <= interval.high
    assert 0.2 < won.mean() < 0.8


def test_open_set_among_real_codes_comes_out_as_integrated(registry):
    codes, owners, own, found = registry
    t = threshold(32, 0.5, len(codes))
    integrated = open_set(own[:, None], np.zeros(len(own), int), 32, len(codes), 0.5)
    accused = found.match >= t
    right = accused & (found.index == owners) & (found.match > found.runner_up)
    for seen, expected in ((right, integrated.right), (~accused, integrated.none)):
        interval = binomtest(int(seen.sum()), len(seen)).proportion_ci(0.999)
        assert interval.low <= expected.mean() <= interval.high
    assert 0.1 < right.mean() < accused.mean() < 0.9


def test_best_of_a_large_registry_equals_the_plain_matrix(registry):
    codes = registry[0]
    readings = np.random.default_rng(6).random((50, 32)) < 0.5
    expected = np.sort(matches(readings, codes), axis=1)
    found = nearest(readings, codes)
    np.testing.assert_array_equal(found.match, expected[:, -1])
    np.testing.assert_array_equal(found.runner_up, expected[:, -2])


def test_without_faiss_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingResource, match="uv sync --extra search"):
        nearest([[True]], [[True]])


@pytest.mark.parametrize(
    ("readings", "codes"),
    [
        ([[1, 0]], [[True, False]]),
        ([[True, False]], [[True]]),
        ([True], [[True]]),
        ([[True]], np.zeros((0, 1), bool)),
        (np.zeros((2, 0), bool), np.zeros((3, 0), bool)),
    ],
)
def test_readings_and_codes_that_do_not_fit_are_refused_with_what_was_expected(readings, codes):
    with pytest.raises(ValueError, match="expected"):
        nearest(readings, codes)

import itertools

import numpy as np

from fpbench.api import NoParams
from fpbench.builtin.codes.uniform import Uniform
from fpbench.builtin.codes.weighted import Weighted

CODE = Weighted(NoParams())


def test_tails_are_those_of_all_codes():
    rng = np.random.default_rng(5)
    logits = rng.normal(0.5, 2, (12, 9))
    every = np.array(list(itertools.product([False, True], repeat=9)))
    score = CODE.match(logits, every, {})
    as_well = score[:, None, :] >= score[:, :, None] - 1e-9
    np.testing.assert_allclose(
        np.exp(CODE.log_tail(logits, score, {})), as_well.mean(axis=2), rtol=1e-10
    )
    np.testing.assert_allclose(score.mean(axis=1), 0, atol=1e-10)


def test_the_score_is_the_correlation_up_to_rounding():
    rng = np.random.default_rng(6)
    logits = rng.normal(0, 3, (20, 64))
    codes = CODE.draw(64, 300, rng, {})
    exact = (logits / np.linalg.norm(logits, axis=1, keepdims=True)) @ np.where(codes, 1, -1).T
    found = CODE.match(logits, codes, {})
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.99
    np.testing.assert_allclose(found, CODE.match(100 * logits, codes, {}))


def test_equally_sure_bits_are_uniform_codes():
    rng = np.random.default_rng(7)
    logits = np.where(rng.random((6, 32)) < 0.5, 1.0, -1.0)
    codes = CODE.draw(32, 10, rng, {})
    uniform = Uniform(NoParams())
    np.testing.assert_allclose(
        CODE.log_tail(logits, CODE.match(logits, codes, {}), {}),
        uniform.log_tail(logits, uniform.match(logits, codes, {}), {}),
        rtol=1e-9,
    )


def test_a_reading_of_nothing_fits_everybody_alike():
    codes = CODE.draw(8, 4, np.random.default_rng(8), {})
    score = CODE.match(np.zeros((2, 8)), codes, {})
    assert not score.any()
    assert not CODE.log_tail(np.zeros((2, 8)), score, {}).any()


def test_bits_that_the_reader_is_sure_of_decide():
    rng = np.random.default_rng(9)
    codes = CODE.draw(32, 1, rng, {})
    sure = rng.random(32) < 0.4
    # Sure bits are right; of the others half are.
    right = np.where(codes[0], 1.0, -1.0)
    logits = np.where(sure, 5 * right, np.where(rng.random((50, 32)) < 0.5, 1.0, -1.0))
    uniform = Uniform(NoParams())
    weighted = CODE.log_tail(logits, CODE.match(logits, codes, {}), {})
    plain = uniform.log_tail(logits, uniform.match(logits, codes, {}), {})
    assert np.median(weighted) < 2 * np.median(plain)

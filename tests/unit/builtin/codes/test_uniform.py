import itertools

import numpy as np

from fpbench.api import NoParams
from fpbench.builtin.codes.uniform import Uniform


def test_tails_are_shares_of_all_codes():
    code, rng = Uniform(NoParams()), np.random.default_rng(0)
    logits = rng.normal(1, 1, (5, 8))
    every = np.array(list(itertools.product([False, True], repeat=8)))
    score = code.match(logits, every, {})
    np.testing.assert_array_equal(score, ((logits > 0)[:, None] == every).sum(axis=2))
    as_well = (score[:, None, :] >= score[:, :, None]).mean(axis=2)
    np.testing.assert_allclose(np.exp(code.log_tail(logits, score, {})), as_well, rtol=1e-12)


def test_bits_are_fair():
    codes = Uniform(NoParams()).draw(16, 4000, np.random.default_rng(1), {})
    assert codes.shape == (4000, 16)
    assert codes.dtype == bool
    assert abs(codes.mean(axis=0) - 0.5).max() < 0.05

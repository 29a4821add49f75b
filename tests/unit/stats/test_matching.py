import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpbench.stats import Matching, matches, matching


@given(
    n=st.integers(1, 9),
    r=st.integers(1, 7),
    k=st.sampled_from([1, 7, 8, 31, 32, 33, 64, 65, 253, 254, 255, 256, 300]),
    seed=st.integers(0, 2**32 - 1),
    owned=st.booleans(),
    pairs=st.sampled_from([1, 10, 2**20]),
    least=st.integers(-1, 4),
)
@settings(max_examples=150, deadline=None)
def test_a_few_rows_at_a_time_give_what_the_whole_table_gives(n, r, k, seed, owned, pairs, least):
    rng = np.random.default_rng(seed)
    codes = rng.random((r, k)) < 0.5
    owners = rng.integers(0, r, n)
    readings = codes[owners] ^ (rng.random((n, k)) < rng.choice([0, 0.1, 0.5]))
    issued = int(rng.integers(1, r + 1))
    table = matches(readings, codes)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(matching, "_PAIRS", pairs)
        # One that is told what will be asked for, one that is not, and one that is told wrongly.
        hint = None if least < 0 else k - least
        seen = Matching(readings, codes, owners if owned else None, issued, hint)
        foreign = np.ones((n, r), dtype=bool)
        if owned:
            foreign[np.arange(n), owners] = False
            np.testing.assert_array_equal(seen.own, table[np.arange(n), owners])
        others = np.where(foreign, table, -1)
        np.testing.assert_array_equal(seen.best, table.max(axis=1))
        np.testing.assert_array_equal(seen.other, others.max(axis=1))
        np.testing.assert_array_equal(seen.other_issued, others[:, :issued].max(axis=1))
        np.testing.assert_array_equal(seen.foreign, foreign.sum(axis=0))
        for t in (k, k - 1, k // 2, 0):
            hits = seen.hits(t)
            np.testing.assert_array_equal(hits.by_image, ((table >= t) & foreign).sum(axis=1))
            np.testing.assert_array_equal(hits.by_code, ((table >= t) & foreign).sum(axis=0))
        counts = np.bincount(table[:, :issued].ravel(), minlength=k + 1)
        np.testing.assert_array_equal(seen.counts(issued), counts)


def test_what_does_not_fit_is_refused():
    bits = np.zeros((2, 3), dtype=bool)
    for arguments, message in (
        ((bits.astype(int), bits), "expected bool readings"),
        ((bits, np.zeros((2, 4), dtype=bool)), r"expected \(N, K\)"),
        ((bits, bits, [0, 2]), r"expected owners in \[0, 1\]"),
        ((bits, bits, [0]), r"expected owners \(N,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            Matching(*arguments)
    with pytest.raises(ValueError, match="readings of nobody"):
        _ = Matching(bits, bits).own

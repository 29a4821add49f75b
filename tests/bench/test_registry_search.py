"""Search of ten thousand readings in a registry of a million codes of 128 bits.

FAISS uses OMP_NUM_THREADS threads.
"""

import numpy as np
import pytest

from fpbench.stats import nearest

READINGS, REGISTERED, BITS = 10_000, 10**6, 128


@pytest.mark.timeout(600)
def test_ten_thousand_readings_in_a_million_codes(benchmark):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, (REGISTERED, BITS), dtype=np.uint8).astype(bool)
    owners = rng.integers(0, REGISTERED, READINGS)
    readings = codes[owners] ^ (rng.random((READINGS, BITS)) < 0.1)
    benchmark.extra_info.update(readings=READINGS, registered=REGISTERED, bits=BITS)
    found = benchmark.pedantic(nearest, args=(readings, codes), rounds=1)
    # A distractor comes this near to a reading in fewer than one of a million searches.
    near = found.match >= 103
    assert near.mean() > 0.99
    np.testing.assert_array_equal(found.index[near], owners[near])

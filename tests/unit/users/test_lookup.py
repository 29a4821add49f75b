import sys
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpbench.api import MissingResource
from fpbench.users import Registry, above, nearest, search


def by_hand(codes, readings, k):
    """Number and match of the k best, counted bit by bit."""
    match = (readings[:, None] == codes[None]).sum(axis=2)
    ranked = [sorted(range(len(codes)), key=lambda n: (-row[n], n))[:k] for row in match]
    number = np.full((len(readings), k), -1)
    best = number.copy()
    for row, order in enumerate(ranked):
        number[row, : len(order)], best[row, : len(order)] = order, match[row, order]
    return number, best


cases = given(
    n=st.integers(0, 20),
    r=st.integers(0, 40),
    bits=st.integers(1, 140),
    k=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)


@cases
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("tile", [3, 8192])
def test_scan_and_faiss_equal_bits_counted_by_hand(tile, n, r, bits, k, seed):
    rng = np.random.default_rng(seed)
    codes, readings = rng.random((r, bits)) < 0.5, rng.random((n, bits)) < 0.5
    packed = np.packbits(codes, axis=1).reshape(r, -(-bits // 8))
    number, match = by_hand(codes, readings, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_TILE_CODES", tile)
        patch.setattr(search, "_TILE_READINGS", tile)
        engines = ["scan", "faiss"] if find_spec("faiss") else ["scan"]
        for engine in engines:
            found = nearest(packed, readings, k, engine=engine)
            np.testing.assert_array_equal(found.number, number)
            np.testing.assert_array_equal(found.match, match)
        threshold = bits // 2 + 1
        hits = above(packed, readings, threshold)
    table = (readings[:, None] == codes[None]).sum(axis=2).reshape(n, r)
    reading, column = np.nonzero(table >= threshold)
    np.testing.assert_array_equal(hits.reading, reading)
    np.testing.assert_array_equal(hits.number, column)
    np.testing.assert_array_equal(hits.match, table[reading, column])


@pytest.mark.parametrize("bits", [13, 128])
def test_scan_faiss_and_server_name_the_same_users(bits, postgresql):
    rng = np.random.default_rng(1)
    codes = rng.random((300, bits)) < 0.5
    codes[200:] = codes[:100]
    codes[200:, -1] = ~codes[200:, -1]  # ties, half of the time
    codes = np.unique(codes, axis=0)
    rows = [f"user {n},{np.packbits(code).tobytes().hex()}\n" for n, code in enumerate(codes)]
    readings = np.concatenate([rng.random((20, bits)) < 0.5, codes[:20]])
    readings[20:, :3] = ~readings[20:, :3]
    with Registry.open(postgresql, create=True) as registry:
        registry.add_model("odd", {"bits": bits})
        registry.import_users("odd", ["user,code\n", *rows])
        packed, _ = registry.codes("odd")
        number, match = by_hand(codes, readings, 4)
        answers = [nearest(packed, readings, 4), registry.nearest_in_database("odd", readings, 4)]
        if find_spec("faiss"):
            answers.append(nearest(packed, readings, 4, engine="faiss"))
        for found in answers:
            np.testing.assert_array_equal(found.number, number)
            np.testing.assert_array_equal(found.match, match)
        best = answers[1].number[:, 0]
        assert [registry.owner("odd", n).user for n in best] == [f"user {n}" for n in number[:, 0]]


def test_shards_in_processes_of_their_own_find_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "_WORTH_A_PROCESS", 1)
    rng = np.random.default_rng(2)
    path = tmp_path / "codes"
    packed = rng.integers(0, 256, (1001, 4), np.uint8)
    packed[900:] = packed[:101]  # ties across shards
    path.write_bytes(packed.tobytes())
    mapped = np.memmap(path, np.uint8, mode="r", shape=packed.shape)
    readings = np.unpackbits(packed[::50], axis=1).astype(bool)
    one, two = nearest(packed, readings, 3), nearest(mapped, readings, 3, jobs=2)
    np.testing.assert_array_equal(one.number, two.number)
    np.testing.assert_array_equal(one.match, two.match)


def test_what_cannot_be_searched_is_refused():
    packed, readings = np.zeros((5, 4), np.uint8), np.zeros((2, 32), bool)
    for wrong in (readings[:, :24], readings.astype(int), readings[:, :0]):
        with pytest.raises(ValueError, match="search: expected"):
            nearest(packed, wrong)
    with pytest.raises(ValueError, match="k >= 1"):
        nearest(packed, readings, 0)


def test_without_faiss_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingResource, match="uv sync --extra search"):
        nearest(np.zeros((5, 4), np.uint8), np.zeros((2, 32), bool), engine="faiss")

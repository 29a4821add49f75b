import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpbench.api import canonical_json, derive_seed, digest

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(plain)
def test_canonical_json_says_what_it_was_given(value):
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_order_of_keys_does_not_matter(value):
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


@given(plain, plain)
def test_different_values_have_different_texts(a, b):
    if json.dumps(a, sort_keys=True) != json.dumps(b, sort_keys=True):
        assert canonical_json(a) != canonical_json(b)


@pytest.mark.parametrize("bad", [{1: 2}, {"a": {2: 3}}, [{None: 1}]])
def test_keys_that_are_no_strings_are_refused(bad):
    with pytest.raises(TypeError, match="string keys"):
        canonical_json(bad)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_without_json_form_are_refused(bad):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json([bad])


def test_digest_and_seed_are_frozen():
    # Golden: a change of either would make every stored artefact and every draw another one.
    assert digest({"b": [1, 2.5], "a": None}) == (
        "e57f5d37865437a82e1108bafb4e5213dfe7e9085f5c253341ebbab30cac5faf"
    )
    assert derive_seed(0, "latent", 3, 7) == 8378770163800294922


def test_seeds_of_different_purposes_differ():
    seeds = {derive_seed(0, p, i) for p in ("latent", "code") for i in range(100)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpbench.api import ContractError
from fpbench.builtin.codes.uniform import Uniform
from fpbench.plan import is_reserved, issued_codes

UNIFORM = Uniform(Uniform.Params())


@given(st.integers(1, 200), st.integers(0, 2**32))
def test_one_code_in_eight_is_reserved_whatever_its_length(bits, seed):
    codes = np.random.default_rng(seed).integers(0, 2, (4000, max(bits, 12))).astype(bool)
    assert abs(is_reserved(codes).mean() - 1 / 8) < 0.06


def test_reservation_is_frozen_and_depends_on_the_code_alone():
    codes = np.random.default_rng(0).integers(0, 2, (64, 32)).astype(bool)
    whole = is_reserved(codes)
    assert [bool(is_reserved(code[None])[0]) for code in codes] == whole.tolist()
    assert np.flatnonzero(whole).tolist() == [1, 3, 12, 18, 31, 34, 39, 45, 46, 53, 54, 57, 61, 63]


def test_issued_codes_are_reserved_distinct_and_do_not_depend_on_their_number():
    few, many = issued_codes(UNIFORM, 16, 3, 5), issued_codes(UNIFORM, 16, 3, 40)
    assert (few == many[:5]).all()
    assert is_reserved(many).all()
    assert len({code.tobytes() for code in many}) == 40
    assert not (issued_codes(UNIFORM, 16, 4, 5) == few).all()


def test_too_few_bits_for_the_population_is_said():
    with pytest.raises(ContractError, match="4 bits may be too few for 30 copies"):
        issued_codes(UNIFORM, 4, 0, 30)


def test_draws_of_the_wrong_shape_are_refused():
    class Wrong(Uniform):
        def draw(self, bits, count, rng, book):
            return np.zeros((count, 3))

    with pytest.raises(ContractError, match=r"bool \(64, 16\), got float64"):
        issued_codes(Wrong(Uniform.Params()), 16, 0, 2)

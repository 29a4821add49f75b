import math

import numpy as np
import pytest

from fpbench.api import ContractError
from fpbench.builtin.codes import bch
from fpbench.builtin.codes.bch import Bch, BchParams


def words(bits, errors):
    """Every word, by its message."""
    chosen = bch._chosen(bits, errors)
    m = chosen.message
    messages = np.arange(2**m)[:, None] >> np.arange(m) & 1
    word = messages.astype(np.int64) @ bch._generator_matrix(chosen) % 2
    return word[:, np.arange(bits) % word.shape[1]].astype(bool)


@pytest.mark.parametrize(
    ("degree", "errors", "octal"),
    [
        (4, 1, 0o23), (4, 2, 0o721), (4, 3, 0o2467), (5, 1, 0o45), (5, 2, 0o3551),
        (5, 3, 0o107657), (5, 5, 0o5423325), (6, 2, 0o12471), (6, 3, 0o1701317),
        (6, 4, 0o166623567), (7, 2, 0o41567), (8, 2, 0o267543),
    ],
)  # fmt: skip
def test_generators_are_those_of_lin_and_costello(degree, errors, octal):
    assert bch._generator(degree, errors) == octal


@pytest.mark.parametrize("degree", range(2, 13))
def test_every_polynomial_of_the_table_is_primitive(degree):
    value, order = 2, 1
    while value != 1:
        value <<= 1
        value ^= bch._PRIMITIVE[degree - 2] if value >> degree else 0
        order += 1
    assert order == 2**degree - 1


@pytest.mark.parametrize(("bits", "errors"), [(15, 2), (16, 3), (20, 2), (24, 3), (31, 5), (40, 6)])
def test_words_differ_in_more_than_twice_the_errors(bits, errors):
    every = words(bits, errors)
    assert len(every) > 1
    assert every[1:].sum(axis=1).min() > 2 * errors
    np.testing.assert_array_equal(every.mean(axis=0), 0.5)


@pytest.mark.parametrize(("bits", "errors", "message"), [(32, 3, 16), (48, 3, 30), (63, 3, 45)])
def test_codes_are_shortened_or_repeated_as_leaves_more_users(bits, errors, message):
    assert bch._chosen(bits, errors).message == message


def test_drawn_codes_are_words():
    code = Bch(BchParams(errors=3))
    drawn = code.draw(20, 500, np.random.default_rng(0), {})
    assert drawn.shape == (500, 20)
    known = {word.tobytes() for word in words(20, 3)}
    assert {word.tobytes() for word in drawn} <= known
    assert len({word.tobytes() for word in drawn}) > len(known) * 0.9


def test_a_reading_fits_what_it_is_decoded_to_and_tails_are_shares_of_all_words():
    rng = np.random.default_rng(1)
    code, every = Bch(BchParams(errors=3)), words(24, 3)
    wrong = np.array([rng.permutation(24) for _ in range(60)]) < rng.integers(0, 6, (60, 1))
    owners = rng.integers(0, len(every), 60)
    logits = np.where(every[owners] ^ wrong, 1.0, -1.0)
    score = code.match(logits, every, {})
    fits = wrong.sum(axis=1) <= 3
    assert fits.any()
    own = score[np.arange(60), owners]
    np.testing.assert_array_equal(own, np.where(fits, 24 - wrong.sum(axis=1), 0))
    assert ((score > 0).sum(axis=1) <= 1).all()
    as_well = (score[:, None] >= own[:, None, None]).mean(axis=2)
    np.testing.assert_allclose(np.exp(code.log_tail(logits, own[:, None], {})), as_well)


def test_what_has_no_code_is_refused_and_says_what_to_set():
    for params, bits, told in (
        (BchParams(), 16, "set errors, or more bits"),
        (BchParams(errors=8), 16, "set fewer errors, or more bits"),
        (BchParams(errors=900), 64, "set fewer errors, or more bits"),
    ):
        code = Bch(params)
        assert told in code.objection(bits)
        with pytest.raises(ContractError, match=told):
            code.draw(bits, 1, np.random.default_rng(0), {})
    assert Bch(BchParams(errors=2)).objection(16) == ""


def test_most_errors_that_leave_messages_of_twenty_bits():
    for bits in (32, 64, 100, 128, 256):
        code = Bch(BchParams())
        assert code.objection(bits) == ""
        t = bch._chosen(bits, None).errors
        assert bch._chosen(bits, t).message >= 20 > bch._chosen(bits, t + 1).message
        logits = np.ones((1, bits))
        assert code.log_tail(logits, np.array([[bits]]), {}) <= -20 * math.log(2)

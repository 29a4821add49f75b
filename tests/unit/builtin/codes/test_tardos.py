import itertools
import math

import numpy as np
import pytest

from fpbench import stats
from fpbench.api import NoParams
from fpbench.builtin.codes import lattice
from fpbench.builtin.codes.tardos import Tardos, TardosParams
from fpbench.builtin.codes.uniform import Uniform

CODES = [Tardos(TardosParams()), Uniform(NoParams())]


def drawn(bits, readings, rng, soft=False, cutoff=0.01):
    """A code, its book, and readings that lean to ones."""
    code = Tardos(TardosParams(cutoff=cutoff, soft=soft))
    return code, code.book(bits, rng), rng.normal(0.5, 2, (readings, bits))


@pytest.mark.parametrize("soft", [False, True])
def test_tails_are_those_of_all_codes_with_their_probabilities(soft):
    rng = np.random.default_rng(5)
    code, book, logits = drawn(9, 12, rng, soft)
    every = np.array(list(itertools.product([False, True], repeat=9)))
    p = book["biases"]
    law = np.where(every, p, 1 - p).prod(axis=1)
    score = code.match(logits, every, book)
    as_well = score[:, None, :] >= score[:, :, None] - 1e-9
    np.testing.assert_allclose(
        np.exp(code.log_tail(logits, score, book)), as_well @ law, rtol=1e-10
    )
    np.testing.assert_allclose(score @ law, 0, atol=1e-10)
    if not soft:
        np.testing.assert_allclose(score**2 @ law, 9, rtol=0.05)


def test_the_score_is_the_symmetric_one_up_to_rounding():
    rng = np.random.default_rng(6)
    code, book, logits = drawn(400, 20, rng, cutoff=0.05)
    codes, p = code.draw(400, 300, rng, book), book["biases"]
    gain = np.where(codes, np.sqrt((1 - p) / p), -np.sqrt(p / (1 - p)))
    exact = np.where(logits > 0, 1.0, -1.0) @ gain.T
    found = code.match(logits, codes, book)
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.995


def test_deep_tails_agree_with_importance_sampling():
    # Codes drawn from a tilted law reach scores that fresh ones reach once in 10^6 to 10^12.
    rng = np.random.default_rng(7)
    bits, draws = 128, 40_000
    code, book, logits = drawn(bits, 3, rng)
    p = book["biases"]
    for reading, tilt in zip(logits, (0.38, 0.42, 0.46), strict=True):
        gain = np.where(reading > 0, 1.0, -1.0) / np.sqrt(p * (1 - p))
        tilted = 1 / (1 + (1 - p) / p * np.exp(-tilt * gain))
        codes = rng.random((draws, bits)) < tilted
        weight = np.log(np.where(codes, p / tilted, (1 - p) / (1 - tilted))).sum(axis=1)
        score = code.match(reading[None], codes, book)[0]
        at = np.median(score)
        found = code.log_tail(reading[None], np.array([[at]]), book)[0, 0]
        estimate = math.log(np.where(score >= at - 1e-9, np.exp(weight), 0).mean())
        assert math.log(1e-12) < found < math.log(1e-6)
        assert found == pytest.approx(estimate, abs=0.05)


@pytest.mark.parametrize("soft", [False, True])
def test_innocents_are_accused_at_most_at_the_rate_whatever_the_reading(soft):
    rng = np.random.default_rng(8)
    code, book, logits = drawn(64, 30, rng, soft)
    logits[:10], logits[10:20] = abs(logits[:10]), -abs(logits[10:20])
    fresh = code.draw(64, 20_000, rng, book)
    tails = code.log_tail(logits, code.match(logits, fresh, book), book)
    for rate in (0.3, 0.05, 1e-3):
        accused = (tails <= math.log(rate)).sum(axis=1)
        bound = rate * 20_000 + 5 * math.sqrt(rate * 20_000)
        assert (accused <= bound).all()
        assert accused.mean() > 0.6 * rate * 20_000


@pytest.mark.parametrize("soft", [False, True])
def test_more_is_less_likely_and_a_part_gives_what_the_whole_gives(soft, monkeypatch):
    rng = np.random.default_rng(9)
    code, book, logits = drawn(48, 9, rng, soft)
    codes = code.draw(48, 40, rng, book)
    score = np.sort(code.match(logits, codes, book), axis=1)
    tails = code.log_tail(logits, score, book)
    assert (np.diff(tails, axis=1) <= 0).all()
    assert (tails <= 0).all()
    monkeypatch.setattr(lattice, "_CELLS", 1)
    np.testing.assert_allclose(code.log_tail(logits, score, book), tails, rtol=1e-12)


def test_what_no_double_holds_stays_finite():
    rng = np.random.default_rng(10)
    code, book, _ = drawn(700, 1, rng)
    rarest = (book["biases"] < 0.5)[None]
    logits = rarest * 2.0 - 1
    tail = code.log_tail(logits, code.match(logits, rarest, book), book)
    assert -800 < tail.item() < -700


def test_a_minority_is_traced_which_uniform_codes_never_do():
    rng = np.random.default_rng(11)
    bits, users, trials = 512, 100, 6
    traced, framed = dict.fromkeys(CODES, 0.0), dict.fromkeys(CODES, 0.0)
    for code in CODES * trials:
        book = code.book(bits, rng)
        codes = code.draw(bits, users, rng, book)
        ones = codes[:3].sum(axis=0)
        logits = np.where((ones == 1) | (ones == 3), 1.0, -1.0)[None]
        surprise = stats.Surprise(code.log_tail(logits, code.match(logits, codes, book), book))
        found = stats.collusion(surprise, [[0, 1, 2]], bits, users, 1e-3)
        traced[code] += (found.traced + found.traced_and_framed).item()
        framed[code] += (found.framed + found.traced_and_framed).item()
    assert [traced[code] for code in CODES] == [pytest.approx(trials, abs=1), 0]
    assert max(framed.values()) < 0.1

"""Whom readings lead to, against counting by hand and drawing innocents."""

import numpy as np
import pytest
from scipy import stats

from fpbench.api import SpecError
from fpbench.users.tracing import pooled, trace

BITS = 32


def packed(codes):
    return np.packbits(codes, axis=1)


def drawn(count, seed=0, bits=BITS):
    return np.random.default_rng(seed).integers(0, 2, (count, bits)).astype(bool)


def logits(codes):
    return np.where(codes, 1.0, -1.0)


def test_the_best_match_is_accused_at_its_exact_tail():
    codes = drawn(500)
    reading = codes[7].copy()
    reading[:2] = ~reading[:2]
    (verdict,) = trace(packed(codes), logits(reading[None]), 1e-3)
    (suspect,) = verdict.accused
    matches = (codes == reading).sum(1)
    assert (suspect.number, suspect.match) == (7, 30) == (matches.argmax(), matches.max())
    assert verdict.margin == 30 - np.sort(matches)[-2]
    p_value = stats.binom.sf(29, BITS, 0.5)
    assert suspect.p_value == pytest.approx(p_value)
    assert suspect.family_wise == pytest.approx(1 - (1 - p_value) ** 500)
    assert verdict.threshold == 29 or 1 - (1 - stats.binom.sf(28, BITS, 0.5)) ** 500 > 1e-3


def test_rules_differ_where_several_are_above():
    codes = drawn(100)
    codes[3], codes[9] = codes[0], codes[0]
    codes[3, 0], codes[9, 0], codes[9, 1] = ~codes[3, 0], ~codes[9, 0], ~codes[9, 1]
    found = {
        rule: trace(packed(codes), logits(codes[:1]), 1e-3, rule)[0]
        for rule in ("best", "all", "one")
    }
    assert [s.number for s in found["best"].accused] == [0]
    assert [s.number for s in found["all"].accused] == [0, 3, 9]
    assert found["one"].accused == ()
    assert "3 codes agree well enough" in found["one"].reason
    codes[3] = codes[0]
    (verdict,) = trace(packed(codes), logits(codes[:1]), 1e-3)
    assert verdict.accused == ()
    assert verdict.reason == "several codes agree equally well"


def test_innocents_are_accused_no_more_often_than_is_said():
    codes, images = drawn(1000, 1), 20_000
    accused = sum(bool(v.accused) for v in trace(packed(codes), logits(drawn(images, 2)), 0.01))
    verdict = trace(packed(codes), logits(drawn(1, 3)), 0.01)[0]
    tail = stats.binom.sf(verdict.threshold - 1, BITS, 0.5)
    expected = images * (1 - (1 - tail) ** 1000)
    assert expected <= 0.01 * images
    assert abs(accused - expected) < 4 * expected**0.5


@pytest.mark.slow
def test_innocents_among_a_million_are_accused_no_more_often_than_is_said():
    bits, users, images = 128, 10**6, 5_000
    codes = np.random.default_rng(1).integers(0, 256, (users, bits // 8), np.uint8)
    verdicts = trace(codes, logits(drawn(images, 2, bits)), 1e-3)
    accused = sum(bool(v.accused) for v in verdicts)
    tail = stats.binom.sf(verdicts[0].threshold - 1, bits, 0.5)
    expected = images * -np.expm1(users * np.log1p(-tail))
    assert expected <= 1e-3 * images
    assert accused <= stats.binom.ppf(1 - 1e-6, images, expected / images)
    assert accused >= stats.binom.ppf(1e-6, images, expected / images)


def test_images_of_one_source_are_read_together():
    code, rng = drawn(1)[0], np.random.default_rng(0)
    noisy = logits(code) * 0.4 + rng.normal(size=(400, BITS))
    noisy[0] *= 1e6  # one loud image outvotes nobody
    assert ((noisy > 0) == code).mean() < 0.75
    assert ((pooled(noisy)[0] > 0) == code).all()


def test_nobody_is_guessed():
    assert trace(packed(drawn(0)), logits(drawn(1)), 0.01)[0].reason == "no code was issued yet"
    few = drawn(5, bits=8)
    (verdict,) = trace(packed(few), logits(few[:1]), 1e-3)
    assert verdict.accused == ()
    assert verdict.reason == "8 bits cannot support 5 codes at this false rate"
    with pytest.raises(SpecError, match="finite"):
        trace(packed(few), np.full((1, 8), np.nan), 1e-3)

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpbench.stats import (
    accused,
    auroc,
    closed_set,
    collusion,
    detection,
    false_verification,
    matches,
    open_set,
    threshold,
    unregistered,
    verification,
)

BITS, ISSUED, REGISTERED, FALSE_RATE = 10, 3, 8, 0.3
DRAWS = 6000
# Five standard errors of a share; all checks together then fail by chance once in ten thousand.
TOLERANCE = 5 * 0.5 / math.sqrt(DRAWS)


def small_case(images=24, flip=0.2):
    rng = np.random.default_rng(8)
    codes = rng.random((ISSUED, BITS)) < 0.5
    owners = rng.integers(0, ISSUED, images)
    readings = codes[owners] ^ (rng.random((images, BITS)) < flip)
    return rng, readings, codes, owners


def drawn_best(rng, reading, distractors):
    codes = rng.random((DRAWS, distractors, BITS)) < 0.5
    return (codes == reading).sum(axis=2).max(axis=1)


match_tables = st.integers(1, 6).flatmap(
    lambda users: st.lists(
        st.tuples(
            st.lists(st.integers(0, 32), min_size=users, max_size=users),
            st.integers(0, users - 1),
        ),
        min_size=1,
        max_size=8,
    )
)


@given(
    n=st.integers(0, 6), u=st.integers(1, 6), k=st.integers(1, 70), seed=st.integers(0, 2**32 - 1)
)
@settings(max_examples=50, deadline=None)
def test_matches_equal_bits_counted_one_by_one(n, u, k, seed):
    rng = np.random.default_rng(seed)
    readings, codes = rng.random((n, k)) < 0.5, rng.random((u, k)) < 0.5
    expected = [[sum(r == c for r, c in zip(x, y, strict=True)) for y in codes] for x in readings]
    np.testing.assert_array_equal(matches(readings, codes), np.reshape(expected, (n, u)))


def test_open_set_agrees_with_drawn_distractors():
    rng, readings, codes, owners = small_case()
    match = matches(readings, codes)
    t = threshold(BITS, FALSE_RATE, REGISTERED)
    found = open_set(match, owners, BITS, REGISTERED, FALSE_RATE)
    kinds = set()
    for i, (reading, owner) in enumerate(zip(readings, owners, strict=True)):
        rivals = drawn_best(rng, reading, REGISTERED - ISSUED)
        rivals = np.maximum(rivals, np.delete(match[i], owner).max())
        own = match[i, owner]
        anyone = np.maximum(rivals, own) >= t
        right = anyone & (own > rivals)
        kinds.add((bool(own >= t), bool(own > np.delete(match[i], owner).max())))
        assert found.right[i] == pytest.approx(right.mean(), abs=TOLERANCE)
        assert found.wrong[i] == pytest.approx((anyone & ~right).mean(), abs=TOLERANCE)
        assert found.none[i] == pytest.approx((~anyone).mean(), abs=TOLERANCE)
    assert len(kinds) >= 3


def test_accusations_and_detection_agree_with_drawn_distractors():
    rng, readings, codes, owners = small_case()
    match = matches(readings, codes)
    t = threshold(BITS, FALSE_RATE, REGISTERED)
    found = accused(match, BITS, REGISTERED, FALSE_RATE)
    left_out = unregistered(match, owners, BITS, REGISTERED, FALSE_RATE)
    for i, reading in enumerate(readings):
        best = np.maximum(drawn_best(rng, reading, REGISTERED - ISSUED), match[i].max())
        assert found[i] == pytest.approx((best >= t).mean(), abs=TOLERANCE)
        others = np.delete(match[i], owners[i]).max()
        best = np.maximum(drawn_best(rng, reading, REGISTERED - ISSUED + 1), others)
        assert left_out[i] == pytest.approx((best >= t).mean(), abs=TOLERANCE)
    np.testing.assert_array_equal(detection(match, BITS, REGISTERED, FALSE_RATE), found)


def test_accusing_nobody_s_images_keeps_the_family_wise_rate_on_average():
    rng = np.random.default_rng(9)
    codes = rng.random((500, 30, 24)) < 0.5
    readings = rng.random((500, 40, 24)) < 0.8
    rates = [
        accused(matches(r, c), 24, 100, 0.05).mean() for r, c in zip(readings, codes, strict=True)
    ]
    assert np.mean(rates) <= 0.05 + 3 * np.std(rates) / math.sqrt(len(rates))


@given(rows=match_tables, extra=st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_open_set_outcomes_are_probabilities_that_add_up_to_one(rows, extra):
    match, owners = (np.array(column) for column in zip(*rows, strict=True))
    found = open_set(match, owners, 32, match.shape[1] + extra, 0.01)
    parts = np.array([found.right, found.wrong, found.none])
    assert np.all((parts >= 0) & (parts <= 1))
    np.testing.assert_allclose(parts.sum(axis=0), 1)


@given(rows=match_tables)
@settings(max_examples=100, deadline=None)
def test_without_distractors_open_set_is_a_plain_decision(rows):
    match, owners = (np.array(column) for column in zip(*rows, strict=True))
    users = match.shape[1]
    t = threshold(32, 0.01, users)
    found = open_set(match, owners, 32, users, 0.01)
    for i, (row, owner) in enumerate(zip(match, owners, strict=True)):
        best = [user for user in range(users) if row[user] == row.max()]
        outcome = "none" if row.max() < t else "right" if best == [owner] else "wrong"
        assert getattr(found, outcome)[i] == 1
        assert closed_set(match, owners)[i] == (best == [owner])


def test_ties_with_the_owner_are_wrong():
    found = open_set([[30, 30]], [0], 32, 2, 0.01)
    assert (found.right[0], found.wrong[0], found.none[0]) == (0, 1, 0)
    assert not closed_set([[30, 30]], [0])[0]


def test_verification_looks_at_the_own_code_only():
    t = threshold(32, 1e-3)
    match = [[t, 32], [t - 1, 32], [0, t]]
    np.testing.assert_array_equal(verification(match, [0, 0, 1], 32, 1e-3), [True, False, True])


def test_false_verification_is_counted_per_user_over_foreign_images():
    t = threshold(32, 1e-3)
    match = np.array([[32, t, 0], [32, 0, 0], [t, 32, t - 1], [0, 0, 32]])
    owned = false_verification(match, [0, 0, 1, 2], 32, 1e-3)
    np.testing.assert_allclose(owned, [1 / 2, 1 / 3, 0])
    foreign = false_verification(match, None, 32, 1e-3)
    np.testing.assert_allclose(foreign, [3 / 4, 2 / 4, 1 / 4])


def test_false_verification_of_a_user_who_owns_every_image_is_unknown():
    assert math.isnan(false_verification([[32], [0]], [0, 0], 32, 1e-3)[0])


@given(
    positive=st.lists(st.integers(-4, 4), min_size=1, max_size=12),
    negative=st.lists(st.integers(-4, 4), min_size=1, max_size=12),
)
@settings(max_examples=80, deadline=None)
def test_auroc_equals_all_pairs_compared(positive, negative):
    pairs = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    assert auroc(positive, negative) == pytest.approx(np.mean(pairs))


def test_auroc_is_one_for_apart_half_for_equal_and_allows_infinities():
    assert auroc([2.0, math.inf], [1.0, -math.inf]) == 1
    assert auroc([1.0] * 3, [1.0] * 5) == 0.5


@pytest.mark.parametrize(
    "call",
    [
        lambda: matches([[1, 0]], [[True, False]]),
        lambda: matches([[True]], [[True, False]]),
        lambda: open_set([[0.5]], [0], 32, 1, 0.01),
        lambda: open_set([[33]], [0], 32, 1, 0.01),
        lambda: open_set([[3, 4]], [2], 32, 2, 0.01),
        lambda: open_set([[3, 4]], [0, 1], 32, 2, 0.01),
        lambda: open_set([[3, 4]], [0], 32, 1, 0.01),
        lambda: auroc([], [1.0]),
        lambda: auroc([math.nan], [1.0]),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_what_was_expected(call):
    with pytest.raises(ValueError, match="expected"):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: open_set([[9]], [0], 16, 100, 1e-3),
        lambda: accused([[9]], 16, 2**13 + 1, 0.2),
        lambda: unregistered([[9]], [0], 16, 100, 1e-3),
        lambda: detection([[9]], 16, 100, 1e-3),
        lambda: verification([[9]], [0], 16, 1e-6),
        lambda: false_verification([[9]], None, 16, 1e-6),
    ],
)
def test_too_few_bits_are_not_supported(call):
    with pytest.raises(ValueError, match="16 bits do not support"):
        call()


def test_collusion_agrees_with_drawing_the_distractors():
    rng, readings, codes, owners = small_case(flip=0.3)
    owners = 1 + owners % (ISSUED - 1)
    members = np.stack([np.zeros_like(owners), owners], axis=1)  # user 0 is in every coalition
    found = collusion(matches(readings, codes), members, BITS, REGISTERED, FALSE_RATE)
    t = threshold(BITS, FALSE_RATE, REGISTERED)
    match = matches(readings, codes)
    for i, reading in enumerate(readings):
        drawn = rng.random((DRAWS, REGISTERED - ISSUED, BITS)) < 0.5
        distractor = ((drawn == reading).sum(axis=2) >= t).any(axis=1)
        caught = (match[i][members[i]] >= t).any()
        innocent = (np.delete(match[i], members[i]) >= t).any() | distractor
        expected = [
            (caught & ~innocent).mean(),
            (caught & innocent).mean(),
            (~caught & innocent).mean(),
            (~caught & ~innocent).mean(),
        ]
        got = [found.traced[i], found.traced_and_framed[i], found.framed[i], found.lost[i]]
        assert got == pytest.approx(expected, abs=TOLERANCE)


def accused_by(rule, row, members, t):
    """(draws, N) whom a rule accuses, from matches (draws, N) with all registered codes."""
    above = row >= t
    if rule == "one":
        return above & (above.sum(axis=1, keepdims=True) == 1)
    best = row == row.max(axis=1, keepdims=True)
    innocent = np.ones(row.shape[1], bool)
    innocent[members] = False
    tied = (best & innocent).any(axis=1, keepdims=True)
    return above & np.where(tied, best & innocent, best)


@pytest.mark.parametrize("rule", ["one", "best"])
def test_rules_that_accuse_one_user_agree_with_drawing_the_distractors(rule):
    rng, readings, codes, owners = small_case(flip=0.3)
    owners = 1 + owners % (ISSUED - 1)
    members = np.stack([np.zeros_like(owners), owners], axis=1)
    match = matches(readings, codes)
    found = collusion(match, members, BITS, REGISTERED, FALSE_RATE, rule=rule)
    t = threshold(BITS, FALSE_RATE, REGISTERED)
    kinds = set()
    for i, reading in enumerate(readings):
        drawn = rng.random((DRAWS, REGISTERED - ISSUED, BITS)) < 0.5
        beside = (drawn == reading).sum(axis=2)
        row = np.concatenate([np.tile(match[i], (DRAWS, 1)), beside], axis=1)
        accused = accused_by(rule, row, members[i], t)
        traced = accused[:, members[i]].any(axis=1)
        framed = accused.any(axis=1) & ~traced
        kinds.add((round(found.traced[i], 1), round(found.framed[i], 1)))
        assert found.traced[i] == pytest.approx(traced.mean(), abs=TOLERANCE)
        assert found.framed[i] == pytest.approx(framed.mean(), abs=TOLERANCE)
        assert found.lost[i] == pytest.approx(1 - accused.any(axis=1).mean(), abs=TOLERANCE)
    assert len(kinds) >= 3


@pytest.mark.parametrize("rule", ["one", "best"])
def test_two_members_above_the_threshold_and_ties_with_the_innocent(rule):
    match, members = [[32, 31, 0], [32, 32, 0], [32, 0, 32], [32, 0, 31], [0, 0, 32]], [[0, 1]] * 5
    found = collusion(match, members, 32, 3, 0.01, rule=rule)
    expected = {"one": "lost lost lost lost framed", "best": "traced traced framed traced framed"}
    for i, outcome in enumerate(expected[rule].split()):
        assert getattr(found, outcome)[i] == 1


@pytest.mark.parametrize("rule", ["all", "one", "best"])
def test_the_outcomes_of_a_coalition_add_up_to_one(rule):
    _, readings, codes, owners = small_case()
    members = owners[:, None]
    match = matches(readings, codes)
    f = collusion(match, members, BITS, REGISTERED, FALSE_RATE, rule=rule)
    assert f.traced + f.traced_and_framed + f.framed + f.lost == pytest.approx(1)


def test_collusion_wants_to_know_who_is_in_which_coalition():
    _, readings, codes, _ = small_case()
    match = matches(readings, codes)
    with pytest.raises(ValueError, match="collusion: expected members"):
        collusion(match, np.zeros(len(match), dtype=int), BITS, REGISTERED, FALSE_RATE)

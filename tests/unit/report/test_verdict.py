"""Every sentence of the verdict: where it stands, and boards on which it must not."""

import pytest
from report_factory import BYPASS, COPIES, JPEG, NOISE, FakeAttack, FakeRun

from fpbench.report.score import rankings
from fpbench.report.verdict import join, verdict

ALIKE = FakeAttack("weight-noise", "weight noise", "model", (0.1,))


def said(run, folder):
    board = run.board(folder)
    return " ".join(verdict(board, rankings(board)))


def constant(**rates):
    return lambda method, seed, point, copy: rates.get(method, 1.0)


def test_nothing_scored_says_so(tmp_path):
    run = FakeRun(supported=False, attacks=[BYPASS])
    board = run.board(tmp_path)
    found = verdict(board, rankings(board))
    assert found[0] == "No method has a score."
    assert "alpha and beta have no place" in found[1]


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_nobody_is_called_best_below_three_trainings(tmp_path, seeds):
    text = said(FakeRun(seeds=seeds, right=constant(alpha=1.0, beta=0.2)), tmp_path)
    assert "best" not in text
    assert "significantly" not in text
    assert "alpha 1.000, beta 0.200" in text
    assert "a rank takes three" in text


def test_the_best_is_named_where_ranks_say_so(tmp_path):
    def right(method, seed, point, copy):
        return (0.9 if method == "alpha" else 0.2) + 0.005 * ((copy + seed) % 3)

    text = said(FakeRun(seeds=(0, 1, 2), right=right), tmp_path)
    assert "alpha (0.905) has the best score" in text


def test_it_is_said_among_whom_the_best_is_where_others_have_no_rank(tmp_path):
    rates = {"alpha": 0.2, "beta": 0.1, "trained": 0.9}

    def right(method, seed, point, copy):
        return rates[method] + 0.005 * (copy % 3)

    run = FakeRun(["alpha", "beta", "trained"], right=right, untrained=("alpha", "beta"))
    text = said(run, tmp_path)
    assert "alpha (0.205) has the best score of the methods with a rank;" in text
    assert "trained 0.905" in text


def test_those_who_share_the_first_rank_are_not_said_to_be_as_good_as_all(tmp_path):
    def right(method, seed, point, copy):
        return (0.2 if method == "gamma" else 0.9) + 0.005 * ((copy + seed) % 3)

    text = said(FakeRun(["alpha", "beta", "gamma"], seeds=(0, 1, 2), right=right), tmp_path)
    assert "alpha (0.905) and beta (0.905) share the first rank: no method is significantly" in text
    assert "better than these." in text


def test_trainings_that_scatter_make_no_best(tmp_path):
    def right(method, seed, point, copy):
        return 0.5 + (0.02 if method == "alpha" else 0.0) + 0.1 * ((seed * 7 + len(method)) % 3)

    text = said(FakeRun(seeds=(0, 1, 2), right=right), tmp_path)
    assert "No ranked method is significantly better" in text


def test_a_single_method_is_compared_with_nothing(tmp_path):
    assert "compared with nothing" in said(FakeRun(["alpha"]), tmp_path)


def test_a_tier_is_kept_or_lost_by_the_bounds_not_by_the_estimate(tmp_path):
    text = said(FakeRun(attacks=[ALIKE], right=constant(alpha=1.0, beta=0.92)), tmp_path)
    assert "Against whoever holds a copy and trains nothing, alpha keeps tracing" in text
    assert "beta keep" not in text  # .92 of 120 images does not show .9
    text = said(FakeRun(attacks=[ALIKE], right=constant(alpha=0.45, beta=0.1)), tmp_path)
    assert "beta falls below one half" in text
    assert "alpha fall" not in text


def test_few_copies_are_said_to_keep_nothing(tmp_path):
    few = FakeAttack("weight-noise", "weight noise", "model", (0.1,), copies=4)
    text = said(FakeRun(attacks=[JPEG, few]), tmp_path)
    assert "whoever holds a copy" not in text


def test_an_attack_that_cannot_be_made_is_survived_by_nobody(tmp_path):
    run = FakeRun(attacks=[ALIKE, JPEG], right=lambda *_: 1.0)
    run.inapplicable = [(m, "weight-noise 0.1") for m in run.methods]
    assert "surviv" not in said(run, tmp_path)


def test_removal_is_said_with_its_price_and_of_whom_there_is_none(tmp_path):
    def right(method, seed, point, copy):
        return 0.1 if (method, point) == ("beta", "bypass") else 1.0

    text = said(FakeRun(right=right), tmp_path)
    assert "beta by bypass (no training; 0.100 traced)" in text
    assert "No attack of this suite removes alpha within the budgets" in text


def test_a_method_whose_removal_is_unknown_is_not_called_safe(tmp_path):
    run = FakeRun(outcomes={("alpha", "bypass"): ("failed", "it broke")})
    assert "removes alpha" not in said(run, tmp_path)


def test_two_accusations_where_chance_makes_them_are_no_excess(tmp_path):
    text = said(FakeRun(accused={("alpha", "real"): 2}), tmp_path)
    assert "more often than chance" not in text
    assert "2 of 4,000 untouched images of nobody were accused" in text
    assert "1.2 expected by chance" in text
    assert "would have been seen with probability" in text


def test_a_real_excess_is_said_with_its_count(tmp_path):
    text = said(FakeRun(accused={("alpha", "real"): 6}), tmp_path)
    assert "alpha on real images (6 of 1,000, 0.29 expected" in text


def test_an_excess_is_adjusted_for_all_that_was_looked_at(tmp_path):
    # p = .003 alone, which is no 5 % among twenty looks
    methods = [f"m{i}" for i in range(10)]
    text = said(FakeRun(methods, [NOISE], accused={("m0", "real"): 3}), tmp_path)
    assert "more often than chance" not in text


def test_codes_too_short_are_said_to_be(tmp_path):
    assert "No method supports 10,000 or more registered users at 16 bits" in said(
        FakeRun(), tmp_path
    )


def test_long_lists_are_cut_with_their_count():
    assert join(list("abcdefgh")) == "a, b, c, d and 4 more"
    assert join(["a"]) == "a"
    assert join(["a", "b"]) == "a and b"
    assert COPIES >= 10

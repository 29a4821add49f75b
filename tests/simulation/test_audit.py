"""The audit's own formulas, against published values, closed forms and worked examples."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from audit import codes, files, rules, score
from safetensors.numpy import save
from scipy import linalg
from scipy import stats as law

FOLDER = Path(__file__).parent
SCRIPTS = [FOLDER / "recompute.py", *(FOLDER / "audit").glob("*.py")]


def test_the_audit_shares_no_code_with_what_it_audits():
    allowed = {*sys.stdlib_module_names, "numpy", "scipy", "audit"}
    for path in SCRIPTS:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert {name.partition(".")[0] for name in names} <= allowed, path


def limits(failures, copies, images):
    """Limits of the rate where as many copies have one failure each."""
    hits = np.full(copies, float(images))
    hits[:failures] -= 1
    found = rules.rate(hits, np.full(copies, images))
    return found.low, found.high


@pytest.mark.parametrize(
    ("failures", "copies", "images", "low", "high"),
    [
        (0, 30, 18, 0.974, 1), (1, 30, 18, 0.971, 1), (2, 30, 18, 0.968, 1),
        (5, 30, 18, 0.960, 0.999), (0, 4, 128, 0.685, 1), (1, 4, 128, 0.688, 1),
        (2, 4, 128, 0.691, 1), (4, 4, 128, 0.697, 1), (0, 10, 18, 0.909, 1),
        (1, 10, 18, 0.900, 1), (2, 10, 18, 0.892, 1), (5, 10, 18, 0.869, 0.999),
        (0, 300, 100, 0.998, 1),
    ],
)  # fmt: skip
def test_limits_of_rates_are_those_that_were_simulated(failures, copies, images, low, high):
    assert limits(failures, copies, images) == pytest.approx((low, high), abs=6e-4)


def test_with_copies_enough_the_rule_is_korn_and_graubards():
    rng = np.random.default_rng(0)
    hits, counts = rng.binomial(20, 0.6, 60), np.full(60, 20)
    n, p = 1200, hits.sum() / 1200
    variance = hits.var(ddof=1) / 60 / 20**2  # equal sizes: of the mean of the copies' rates
    t2 = (law.t.ppf(0.975, n - 1) / law.t.ppf(0.975, 59)) ** 2
    n = min(n, p * (1 - p) / variance * t2)
    found = rules.rate(hits, counts)
    assert found.low == pytest.approx(law.beta.ppf(0.025, p * n, n - p * n + 1))
    assert found.high == pytest.approx(law.beta.ppf(0.975, p * n + 1, n - p * n))


def test_what_distractors_take_of_a_hit_is_no_failure():
    counts = np.full(30, 18)
    whole = rules.rate(counts, counts)
    nearly = rules.rate(counts * (1 - 1e-7 * np.arange(30)), counts)
    assert nearly.low == pytest.approx(whole.low, abs=1e-5)


def test_a_mean_of_equal_bits_has_width():
    read = np.full(30, 18 * 32)
    found = rules.bits_mean(read, read)
    p, n = (17280 + 1) / (17280 + 2), 17280
    floor = p * (1 - p) * (1 + 575 * 0.15) / n
    assert found.low == pytest.approx(1 - law.t.ppf(0.975, 29) * floor**0.5)
    assert found.high == 1


def test_distances_are_those_of_the_matrix_root():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(90, 5)), rng.normal(size=(70, 5)) @ rng.normal(size=(5, 5))
    s, t = np.cov(a.T), np.cov(b.T)
    shift = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    expected = shift + np.trace(s + t - 2 * linalg.sqrtm(s @ t).real)
    fitted, few = rules.Gaussian.of(a), rules.Gaussian.of(a[:3])
    assert rules.frechet(fitted, rules.Gaussian.of(b)) == pytest.approx(expected)
    assert rules.frechet(few, few) == pytest.approx(0, abs=1e-12)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=12)
    parts = [np.array([[v]]) for v in values]
    found = rules.jackknife_half(rules.without_each(parts, lambda rows: float(rows.mean())))
    assert found == pytest.approx(law.sem(values) * law.t.ppf(0.975, 11))


def test_tensors_are_read_as_they_were_written():
    written = {
        "a/b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "flags": np.array([True, False]),
        "none": np.zeros((0, 4)),
    }
    found = files.tensors(save(written))
    assert set(found) == set(written)
    for name, array in written.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_codes_are_distinct_and_do_not_depend_on_how_many_there_are():
    few, many = codes.issued_codes(0, 12, 5), codes.issued_codes(0, 12, 40)
    assert np.array_equal(few, many[:5])
    assert len({code.tobytes() for code in many}) == 40


# -- score -------------------------------------------------------------------------------------


def places(clean, steps, budget):
    """(strength, whether crossed, rates) of each place; steps are (damage, rates)."""
    curve = [score.Step("", damage, np.array(rates, float)) for damage, rates in steps]
    found = score.places(np.array(clean, float), curve, budget)
    return [(place.step, place.crossing, place.rates.tolist()) for place in found]


def test_a_curve_is_least_at_a_strength_or_where_it_crosses_the_budget():
    found = places([1, 1], [(0.2, [0.8, 1]), (0.8, [0.2, 0])], budget=0.5)
    assert [place[:2] for place in found] == [(0, False), (1, True)]
    assert found[0][2] == [0.8, 1]
    assert found[1][2] == pytest.approx([0.5, 0.5])


def test_an_attack_beyond_the_budget_still_costs_its_share():
    assert places([1.0], [(2.0, [0.0])], budget=0.5) == [(0, True, [0.75])]


def test_a_curve_that_comes_back_into_the_budget_crosses_it_twice():
    found = places([1.0], [(1.0, [0.5]), (0.0, [0.3])], budget=0.5)
    assert found == [(0, True, [0.75]), (1, True, [0.4]), (1, False, [0.3])]


def test_choosing_the_worst_costs_no_bias():
    rng = np.random.default_rng(0)
    means = [score.worst(list(rng.binomial(1, 0.5, (10, 20)))).mean() for _ in range(400)]
    # Ten attacks of equal truth; the least of ten means of twenty coins would be .33.
    assert np.mean(means) == pytest.approx(0.5, abs=4 * 0.112 / 20)


def test_the_worst_of_one_half_is_judged_on_the_other():
    mild, harsh = np.array([0.5, 0.5, 0.5, 0.5]), np.array([0.9, 0.1, 0.9, 0.1])
    # The odd copies choose the harsh one for the even ones; the even ones the mild one.
    assert score.worst([mild, harsh]).tolist() == [0.9, 0.5, 0.9, 0.5]


def test_limits_of_a_mean_add_up_or_squares_do():
    parts = [rules.Interval(0.5, 0.4, 0.7, ""), rules.Interval(0.7, 0.6, 0.8, "")]
    alike = [np.ones(3), np.ones(3)]
    assert score.mover(parts, alike) == pytest.approx((0.6, 0.5, 0.75))
    apart = [np.array([0, 1, 0, 1]), np.array([1, 1, 0, 0])]
    assert score.mover(parts, apart)[1] == pytest.approx(0.6 - np.hypot(0.1, 0.1) / 2)


def method(*scores, trains=True, spread=0.01, copies=30):
    rates = np.mean(scores) + spread * np.resize([-1, 1], copies)
    return score.Method(np.array(scores), {"t": score.Sample(rates, 10**6)}, trains)


def test_ranks_need_three_trainings_and_a_difference():
    assert score.ranks({"a": method(0.9, 0.91), "b": method(0.1, 0.12)}) == {}
    many = {"a": method(0.9, 0.91, 0.92), "b": method(0.1, 0.12, 0.13), "c": method(0.9, 0.9, 0.93)}
    assert score.ranks(many) == {"a": 1, "b": 3, "c": 1}


def test_two_methods_are_compared_with_students_test_where_copies_say_little():
    a, b = (0.5, 0.52, 0.57), (0.6, 0.61, 0.65)
    methods = {"a": method(*a, copies=300, spread=1e-6), "b": method(*b, copies=300, spread=1e-6)}
    level = law.ttest_ind(a, b).pvalue
    assert score.ranks(methods, level * 1.1) == {"a": 2, "b": 1}
    assert score.ranks(methods, level * 0.9) == {"a": 1, "b": 1}


def test_what_is_not_trained_is_ranked_from_one_training():
    methods = {
        "fixed": method(0.2, trains=False),
        "a": method(0.7, 0.71, 0.72),
        "once": method(0.9),
    }
    assert score.ranks(methods) == {"fixed": 2, "a": 1}


def test_of_methods_that_train_nothing_the_copies_tell():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 0.1, 30), rng.normal(0.56, 0.1, 30)
    pair = [score.Method(np.array([r.mean()]), {"t": score.Sample(r, 9)}, False) for r in (a, b)]
    none = score.Trainings.of(pair)
    assert score.p_value(*pair, none) == pytest.approx(law.ttest_rel(a, b).pvalue)


def test_without_a_spread_over_copies_nothing_is_certain():
    alike = {rate: score.Sample(np.full(30, rate), 18) for rate in (0.9, 0.9001)}
    pair = [score.Method(np.array([rate]), {"t": own}, False) for rate, own in alike.items()]
    assert score.p_value(*pair, score.Trainings.of(pair)) > 0.9

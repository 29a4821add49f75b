import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpbench.report import charts, svg

WORDS = charts.Text("name", "A <title>", "words & more", x="x", y="y")
TICKS = ["none", "1", "2"]


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


def line_of(drawn: str, css: str = "line") -> str:
    return re.search(rf'<path class="{css}" d="([^"]*)"', drawn)[1]


def test_a_curve_passes_through_its_values():
    drawn = charts.curve(WORDS, TICKS, [charts.Series(0, [1.0, 0.5, 0.0])], limits=(0, 1))
    found = points(line_of(drawn))
    ys = [y for _, y in found]
    assert ys[1] == pytest.approx((ys[0] + ys[2]) / 2, abs=0.11)
    assert ys[0] < ys[2]  # SVG counts downwards
    xs = [x for x, _ in found]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.11)
    marks = re.findall(r'<use href="#m0" x="([\d.]+)" y="([\d.]+)"', drawn)
    assert [(float(x), float(y)) for x, y in marks] == found


def test_a_missing_value_breaks_the_line_and_is_not_zero():
    drawn = charts.curve(WORDS, TICKS, [charts.Series(0, [1.0, None, 0.5])], limits=(0, 1))
    assert line_of(drawn).count("M") == 2
    assert "L" not in line_of(drawn)
    assert drawn.count("<use") == 2


def test_bands_reach_from_low_to_high_and_leave_many_methods_alone():
    item = charts.Series(0, [0.5, 0.5], [0.4, 0.2], [0.6, 0.8])
    band = points(line_of(charts.curve(WORDS, ["a", "b"], [item], limits=(0, 1)), "band"))
    ys = [y for _, y in band]
    middle = points(line_of(charts.curve(WORDS, ["a", "b"], [item], limits=(0, 1))))[0][1]
    assert ys[0] - middle == pytest.approx(middle - ys[3], abs=0.11)
    assert (ys[1] - middle) == pytest.approx(3 * (ys[0] - middle), abs=0.3)
    many = [item] * (charts.MOST_BANDS + 1)
    assert 'class="band"' not in charts.curve(WORDS, ["a", "b"], many, limits=(0, 1))


def test_words_are_escaped_and_name_the_chart():
    drawn = charts.curve(WORDS, ["<b>", "1", "2"], [charts.Series(0, [1, 1, 1])])
    assert "A &lt;title&gt;" in drawn
    assert "words &amp; more" in drawn
    assert ">&lt;b&gt;<" in drawn
    assert 'aria-labelledby="name-title name-desc"' in drawn


def test_methods_keep_marker_and_colour_apart():
    pairs = {(charts.shape(i), i % charts.COLOURS) for i in range(64)}
    assert len(pairs) == 64


def test_frontier_is_drawn_as_stairs_and_the_level_where_it_is():
    rows = [charts.Estimate("a", 0, 0.5, x=1.0), charts.Estimate("b", 1, 0.9, x=2.0)]
    drawn = charts.plane(WORDS, rows, [(1.0, 0.5), (2.0, 0.9)], (1.0, "host"))
    stairs = line_of(drawn, "frontier")
    level = line_of(drawn, "level")
    assert stairs.count("H") == 3
    assert re.match(r"M([\d.]+) ", stairs)[1] == re.match(r"M([\d.]+) ", level)[1]


def test_distribution_keeps_its_shares():
    counts = [0, 0, 0.25, 0.75, 0]
    drawn = charts.steps(WORDS, [charts.Steps("d-real", counts)], 3)
    area = line_of(drawn, "area")
    heights = [float(v) for v in re.findall(r"V([\d.]+)", area)]
    base = heights[-1]
    tops = sorted(base - h for h in heights if h != base)
    assert tops[1] == pytest.approx(3 * tops[0], abs=0.5)
    assert "threshold 3" in drawn


@given(
    st.floats(-1e3, 1e3),
    st.floats(1e-6, 1e6),
)
def test_ticks_are_few_round_and_inside(place, width):
    low = place * width
    ticks = svg.ticks_of(low, low + width)
    assert 1 <= len(ticks) <= 6
    assert all(low - 1e-6 * width <= t <= low + width * (1 + 1e-6) for t in ticks)
    if len(ticks) > 1:
        step = ticks[1] - ticks[0]
        lead = step / 10 ** math.floor(math.log10(step) + 1e-9)
        assert min(abs(lead - m) for m in (1, 2, 5, 10)) < 1e-3


@given(st.lists(st.floats(-1e3, 1e3), max_size=5))
def test_an_axis_holds_its_values_and_has_a_length(values):
    low, high = svg.span_of(values)
    assert low < high
    assert all(low <= v <= high for v in values)


def test_one_value_is_drawn_in_the_middle_of_the_page():
    drawn = charts.trace(WORDS, [7], [3.0], 0)
    assert "nan" not in drawn
    drawn = charts.forest(WORDS, [charts.Estimate("only", 0, 0.5, 0.4, 0.6, rank="1")])
    assert "1  only" in drawn


def test_traded_lines_stand_where_each_method_paid():
    cheap = charts.Series(0, [1.0, 0.5], places=[0.0, 0.2])
    dear = charts.Series(1, [1.0, 0.5, 0.2], places=[0.0, 0.4, None])
    drawn = charts.traded(WORDS, [cheap, dear], limits=(0, 1), budget=0.5)
    first, second = (points(d) for d in re.findall(r'<path class="line" d="([^"]*)"', drawn))
    assert (len(first), len(second)) == (2, 2)  # what has no place is not drawn
    assert first[0] == second[0]
    assert first[1][1] == second[1][1]
    assert second[1][0] - second[0][0] == pytest.approx(2 * (first[1][0] - first[0][0]), abs=0.2)
    budget = float(re.search(r'class="level" d="M([\d.]+) ', drawn)[1])
    assert budget - first[0][0] == pytest.approx(2.5 * (first[1][0] - first[0][0]), abs=0.3)

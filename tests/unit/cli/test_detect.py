import json
import sys

import pytest

from fpbench import stats
from fpbench.cli.main import main


@pytest.fixture
def detect(monkeypatch, capsys, suite_file):
    """Runs `fpbench plan SUITE --detect …` in this process; returns (code, out, err)."""

    def run(*arguments, replacements=()):
        suite = suite_file(*replacements)
        command = ["-p", "fpbench.testing.fakes", "plan", suite, "--detect", *arguments]
        monkeypatch.setattr(sys, "argv", ["fpbench", *map(str, command)])
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


def as_json(detect, *arguments, replacements=()):
    code, out, err = detect(*arguments, "--json", replacements=replacements)
    assert code == 0, err
    return json.loads(out)


def test_populations_are_those_of_the_suite_and_of_its_attacks(detect):
    data = as_json(detect, 0.1)
    whole, trained = data["detectable"]["populations"]
    assert (whole["copies"], whole["images"], whole["attacks"]) == (5, 4, [])
    assert (trained["copies"], trained["images"], trained["attacks"]) == (3, 6, ["fine-tune"])
    assert whole["difference"] == stats.detectable(5, 4, 0.9, 0.05)
    assert trained["difference"] == stats.detectable(3, 6, 0.9, 0.05)


def test_table_holds_the_copies_for_every_count_of_images(detect):
    data = as_json(detect, 0.1)
    assert [row["images"] for row in data["needed"]] == [4, 32, 100, 300]
    for row in data["needed"]:
        for rate, copies in row["copies"].items():
            assert copies == stats.copies_needed(0.1, float(rate), 0.05, row["images"])


def test_the_suites_own_images_are_listed_once(detect):
    data = as_json(
        detect, 0.1, replacements=[("copies = 5\nimages = 4", "copies = 5\nimages = 32")]
    )
    assert [row["images"] for row in data["needed"]] == [32, 100, 300]


def test_negatives_are_counted_against_the_false_rate(detect):
    negatives = as_json(detect, 0.1)["negatives"]
    assert negatives["needed"] == 300
    assert not negatives["real_enough"]
    assert not negatives["host_enough"]
    more = as_json(detect, 0.1, replacements=[("real = 20\nhost = 20", "real = 64\nhost = 300")])
    assert not more["negatives"]["real_enough"]
    assert more["negatives"]["host_enough"]


def test_text_names_assumptions_and_next_step(detect):
    code, out, _ = detect(0.1)
    assert code == 0
    assert "correlation 0.05" in out
    assert "power 0.8" in out
    assert "(this suite)" in out
    assert "[negatives] real = 20: too few" in out
    needed = stats.copies_needed(0.1, 0.9, 0.05, 4)
    assert f"--set population.copies={needed}" in out.splitlines()[-1]


def test_suite_that_suffices_says_so(detect):
    enough = [("copies = 5\nimages = 4", "copies = 60\nimages = 32")]
    assert "its copies find this difference" in detect(0.1, replacements=enough)[1]


def test_difference_larger_than_a_rate_has_no_answer_there(detect):
    data = as_json(detect, 0.6)
    assert data["needed"][0]["copies"]["0.5"] is None
    assert data["needed"][0]["copies"]["0.98"] is not None
    assert detect(0.95)[1].splitlines()[-1] == "Next: ask for a difference of at most 0.9"


def test_attack_on_one_copy_finds_nothing(detect):
    data = as_json(detect, 0.1, replacements=[("copies = 3", "copies = 1")])
    assert data["detectable"]["populations"][1]["difference"] is None
    assert "none  with 1 copies" in detect(0.1, replacements=[("copies = 3", "copies = 1")])[1]


@pytest.mark.parametrize("difference", ["0", "1", "-0.1", "2", "much"])
def test_difference_out_of_range_is_a_usage_error(detect, difference):
    code, _, err = detect(difference)
    assert code == 2
    assert "--detect" in err

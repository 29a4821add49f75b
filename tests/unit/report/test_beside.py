"""Another board beside one: what carries over, what does not, and what is not compared."""

import json
from dataclasses import replace

import pytest
from report_factory import BYPASS, JPEG, FakeAttack, FakeRun

from fpbench.api import SpecError, StoreError
from fpbench.report.beside import FILE, found, read_beside, stand
from fpbench.report.build import build_page

NOISE = FakeAttack("weight-noise", "weight noise", "model", (0.1,))


def rates(**of):
    """Right-rates of untouched images by method, after weight noise by METHOD_noisy; else 1."""

    def right(method, seed, point, copy):
        return of.get(f"{method}_noisy" if "noise" in point else method, 1.0)

    return right


@pytest.fixture
def two(tmp_path):
    """A function that puts one run beside another, and says what the first one's page finds."""

    def put(here, there):
        first, second = here.write(tmp_path / "here"), there.write(tmp_path / "there")
        stand(first, second)
        return found(here.board(tmp_path / "here"), read_beside(first))

    return put


def test_what_carries_over_and_what_does_not(two):
    both = FakeRun(attacks=[NOISE])
    here = replace(both, right=rates(alpha_noisy=1.0, beta_noisy=0.2))
    there = replace(both, right=rates(alpha_noisy=1.0, beta_noisy=1.0))
    carries, lost = two(here, there).carried
    assert carries.startswith(
        "Carries over (a rate that is more than 0.1 smaller here is excluded)"
    )
    assert "untouched, alpha (1.000 here, 1.000 there), beta (1.000 here, 1.000 there)" in carries
    assert "trains nothing, alpha (1.000 here, 1.000 there)" in carries
    assert lost.startswith("Does not carry over")
    assert "trains nothing, beta (0.200 here, 1.000 there)" in lost
    assert "alpha" not in lost


def test_a_little_less_is_neither(two):
    both = FakeRun(["alpha"], attacks=[NOISE])
    here, there = (replace(both, right=rates(alpha=a)) for a in (0.85, 0.9))
    (said,) = two(here, there).carried
    assert said.startswith("Not decided: untouched, alpha (0.850 here, 0.900 there)")


def test_what_few_copies_show_is_not_decided(tmp_path):
    run = FakeRun(["alpha"], attacks=[NOISE], right=rates())
    here, there = run.write(tmp_path / "here"), run.write(tmp_path / "there")
    stand(here, there)
    summary = json.loads((here / FILE).read_text())
    for each in summary["methods"]["alpha"]["rates"].values():
        each["by_copy"] = each["by_copy"][:4]
    (here / FILE).write_text(json.dumps(summary))
    (said,) = found(run.board(tmp_path / "here"), read_beside(here)).carried
    assert said.startswith("Not decided")


def test_what_falls_there_carries_nothing_over(two):
    run = FakeRun(["alpha"], attacks=[NOISE], right=rates(alpha_noisy=0.1))
    carries, nothing = two(run, run).carried
    assert "trains nothing" not in carries
    assert nothing.startswith("Nothing to carry over (under one half there): against whoever holds")
    assert "alpha (0.100 here, 0.100 there)" in nothing


def test_methods_of_other_bits_or_labels_are_not_compared(tmp_path):
    here = FakeRun(["alpha", "beta"]).write(tmp_path / "here")
    there = FakeRun(["alpha", "gamma"]).write(tmp_path / "there")
    stand(here, there)
    text = (here / FILE).read_text().replace('"bits": 16', '"bits": 24')
    (here / FILE).write_text(text)
    both = found(FakeRun(["alpha", "beta"]).board(tmp_path / "here"), read_beside(here))
    assert both.apart == ["alpha: 16 bits here, 24 there"]
    assert not both.carried
    assert not both.table.rows


def test_boards_that_ask_other_things_are_refused_with_what_to_set(tmp_path):
    here, there = (FakeRun().write(tmp_path / name) for name in ("here", "there"))
    suite = json.loads((there / "suite.json").read_text())
    suite["score"] |= {"registered": 99, "training_steps": 5}
    (there / "suite.json").write_text(json.dumps(suite))
    with pytest.raises(SpecError) as error:
        stand(here, there)
    assert "expected the other board's registered (99), got 30" in str(error.value)
    assert "--set score.training_steps=" in str(error.value)
    assert not (here / FILE).exists()


def test_boards_without_a_method_in_common_are_refused(tmp_path):
    here = FakeRun(["alpha"]).write(tmp_path / "here")
    there = FakeRun(["beta"]).write(tmp_path / "there")
    with pytest.raises(SpecError, match=r"got alpha \(16\) here and beta \(16\) there"):
        stand(here, there)


@pytest.mark.parametrize("text", ["[]", "{", '{"format": 2}'])
def test_a_file_that_is_no_summary_is_named(tmp_path, text):
    here = FakeRun().write(tmp_path / "here")
    (here / FILE).write_text(text)
    with pytest.raises(StoreError, match=r"beside\.json.*report --beside"):
        read_beside(here)


def test_the_page_shows_it_and_escapes_what_others_wrote(tmp_path):
    run = FakeRun(attacks=[JPEG, BYPASS])
    here, there = run.write(tmp_path / "here"), run.write(tmp_path / "there")
    suite = json.loads((there / "suite.json").read_text())
    suite["suite"]["title"] = "<script>images"
    (there / "suite.json").write_text(json.dumps(suite))
    before = build_page(here, tmp_path / "page").read_text()
    stand(here, there)
    after = build_page(here, tmp_path / "page").read_text()
    assert 'id="beside"' not in before
    assert "Beside <bdi>&lt;script&gt;images</bdi>" in after
    assert "Carries over" in after

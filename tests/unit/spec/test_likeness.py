"""What a suite's tables share, and what of a command line stays text."""

import json
import tomllib
from pathlib import Path

import pytest

from fpbench.api import SpecError
from fpbench.execute.clusters import cluster_named
from fpbench.execute.request import Request
from fpbench.registry import load
from fpbench.spec import read_suite
from fpbench.spec.source import likened

BOARDS = Path(__file__).parents[3] / "leaderboards"
SHARED = """
[[methods]]
use = "keyed"
label = "first"
copies = 3
[[methods]]
like = "first"
label = "second"
copies = 4
[[methods]]
like = "second"
label = "third"
"""


@pytest.fixture(scope="module")
def catalogue():
    return load(["fpbench.testing.fakes"])


def problems(path, catalogue, **options):
    with pytest.raises(SpecError) as caught:
        read_suite(str(path), catalogue, **options)
    return caught.value.problems


def test_a_method_takes_over_what_it_does_not_say_itself(suite_file, catalogue):
    suite = read_suite(str(suite_file(("[population]", SHARED + "[population]"))), catalogue)
    *_, first, second, third = suite.methods
    assert {m.component.name for m in (first, second, third)} == {"keyed"}
    assert [m.label for m in (first, second, third)] == ["first", "second", "third"]
    assert [m.options.copies for m in (first, second, third)] == [3, 4, 4]


def test_keys_are_those_of_settings_that_are_written_out(suite_file):
    hidden = '[[methods]]\nuse = "hidden"\nlabel = "{0}"\nsteps = {1}\nbits = 8\n'
    short = hidden.format("a", 5) + '[[methods]]\nlike = "a"\nlabel = "b"\nsteps = 7\n'
    long = hidden.format("a", 5) + hidden.format("b", 7)
    keys = []
    for text in (short, long):
        plan, _ = Request(
            str(suite_file(("[population]", text + "[population]"))),
            plugins=("fpbench.testing.fakes",),
        ).plan()
        keys.append([cell.key for cell in plan.cells])
    assert keys[0] == keys[1]


def test_attacks_may_be_alike_and_be_chosen_alone(suite_file, catalogue):
    more = '[[attacks]]\nlike = "jpeg"\nlabel = "sharp"\nsubsampling = "444"\n[population]'
    path = suite_file(("[population]", more))
    suite = read_suite(str(path), catalogue, attacks=("sharp[quality=30]",))
    (attack,) = suite.attacks
    assert (attack.label, attack.component.name, attack.points) == ("sharp", "jpeg", (30.0,))
    assert attack.component.params.subsampling == "444"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('like = "perfct"', "above, got 'perfct'; did you mean 'perfect'?"),
        ('like = "own"\nlabel = "own"', "expected the label of an entry above, got 'own'"),
        ("like = 3", "expected the label of an entry above, got 3"),
        ('like = "blind"\nuse = "perfect"', "that uses 'perfect' too, got one of 'blind'"),
        ('liek = "blind"\nuse = "perfect"', "unknown parameter 'liek'; did you mean 'like'?"),
    ],
)
def test_a_likeness_that_is_none_is_named_with_its_line(suite_file, catalogue, entry, said):
    path = suite_file(("[population]", f"[[methods]]\n{entry}\n[population]"))
    found = problems(path, catalogue)
    line = path.read_text().splitlines().index(entry.splitlines()[0]) + 1
    assert any(each.startswith(f"{path}:{line}: ") and said in each for each in found), found


def test_paper_suites_do_not_say_the_same_twice():
    for name in ("celeba-128", "celeba-128-lengths", "celeba-128-pools", "wouaf-sd2"):
        entries = tomllib.loads((BOARDS / name / "suite.toml").read_text())["methods"]
        assert any("like" in entry for entry in entries), name
        for entry in entries:
            assert "like" not in entry or len(entry) <= 3


def test_entries_without_likeness_are_left_alone():
    entries = [{"use": "a"}, {"use": "b", "label": "c"}]
    assert likened(entries) == (entries, {})


@pytest.mark.parametrize("text", ["20240115", "2024_01_15", "1e5", "true", "0x10", "12:30:00"])
def test_what_looks_like_a_number_stays_text_where_text_is_asked_for(suite_file, catalogue, text):
    chosen = (f"hidden[architecture=paper,weights={text},bits=8]",)
    suite = read_suite(str(suite_file()), catalogue, methods=chosen)
    params = suite.methods[0].component.params
    assert (params.weights, params.bits) == (text, 8)
    named = read_suite(str(suite_file()), catalogue, assignments=(f"suite.title={text}",))
    assert named.header.title == text
    cluster = cluster_named(f"slurm[partition={text},cap=3]", catalogue)
    assert (cluster.params.partition, cluster.params.cap) == (text, 3)


def test_numbers_stay_numbers(suite_file, catalogue):
    suite = read_suite(str(suite_file()), catalogue, assignments=("population.copies=60",))
    assert suite.population.copies == 60
    (problem,) = problems(suite_file(), catalogue, assignments=("population.copies=many",))
    assert "population.copies" in problem
    assert "'many'" in problem


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ("0..1000000000", "expected from 1 to 1,000 trainings, got 1,000,000,001"),
        ("4..0", "expected from 1 to 1,000 trainings, got none"),
        ("0..x", "expected 0..4 or 0,2"),
        ("", "expected 0..4 or 0,2"),
    ],
)
def test_seeds_that_nobody_trains_are_refused(suite_file, catalogue, seeds, said):
    (problem,) = problems(suite_file(), catalogue, seeds=seeds)
    assert problem == f"--seeds {seeds}: {said}"


def test_a_resolved_suite_says_nothing_of_likeness(suite_file, catalogue):
    suite = read_suite(str(suite_file(("[population]", SHARED + "[population]"))), catalogue)
    assert '"like"' not in json.dumps(suite.resolved())

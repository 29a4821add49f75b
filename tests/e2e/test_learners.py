"""What adversaries learn once, before they meet any copy."""

from pathlib import Path

import pytest
from rows import value

from fpbench.api import Outcome
from fpbench.stages.reading import ImageReader

BARE = [
    ('[[attacks]]\nuse = "jpeg"\nquality = [90, 50]\n', ""),
    ('[[attacks]]\nuse = "weight-noise"\nsigma = [0.1, 0.3]\n', ""),
    ('use = "fine-tune"\nsteps = [1, 3]\ncopies = 3\nimages = 6', 'use = "prying"'),
    (
        'use = "bypass"',
        'use = "grey"\nshare = [0.5, 1.0]\nclean_images = 8\n'
        '[[attacks]]\nuse = "greedy"\nclean_images = 8',
    ),
]


@pytest.mark.timeout(180)
def test_an_attack_learns_once_whatever_the_methods(run_suite, suite_file, tmp_path, monkeypatch):
    said = tmp_path / "learnt.txt"
    monkeypatch.setenv("FPBENCH_LEARNT", str(said))
    attacked = set()
    attack = ImageReader._attacked

    def seen(reader, point, *rest):
        if reader._origin[0] in ("real", "host"):  # images of nobody
            attacked.add((point.attack.label, reader._fit.index))
        return attack(reader, point, *rest)

    monkeypatch.setattr(ImageReader, "_attacked", seen)
    _, records, _ = run_suite(suite_file(*BARE), plugins=("learners",))
    assert {fit for label, fit in attacked if label == "grey"} == {0}
    assert sorted(said.read_text().split()) == ["greedy", "grey"]
    whole = value(records, "perfect", "grey 1", "bit-accuracy")["value"]
    half = value(records, "perfect", "grey 0.5", "bit-accuracy")["value"]
    assert half == 1 > 0.7 > whole  # of grey images nothing can be read
    assert "in place; clone it first" in value(records, "perfect", "greedy 0.5", "")["reason"]
    failed = value(records, "perfect", "prying", "")
    assert failed["outcome"] == Outcome.FAILED
    assert "as it should: attack prying: expected to use only what it declares" in failed["reason"]


@pytest.mark.timeout(180)
def test_an_attack_that_ends_its_process_while_it_learns_fails_alone(
    run_suite, suite_file, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # of workers
    more = ('use = "bypass"', 'use = "bypass"\n[[attacks]]\nuse = "dying"\nclean_images = 8')
    suite = suite_file(*BARE[:-1], more)
    summary, records, _ = run_suite(suite, plugins=("learners",), here=False)
    assert value(records, "perfect", "none", "bit-accuracy")["value"] == 1
    for method in ("perfect", "blind"):
        assert value(records, method, "dying 0.5", "")["outcome"] == Outcome.FAILED
        assert value(records, method, "bypass", "bit-accuracy")["outcome"] == Outcome.DONE
    assert Outcome.BLOCKED not in summary.cells


def test_a_chain_has_no_part_that_learns(command, suite_file):
    chain = 'use = "chain"\nparts = [{ use = "grey", share = 0.5 }]'
    suite = suite_file(*BARE[:-1], ('use = "bypass"', chain))
    code, _, err = command("-p", "learners", "-p", "fpbench.testing.fakes", "plan", suite)
    assert code == 2
    assert "expected an attack that learns nothing before" in err


TAUGHT = [
    *BARE[:-1],
    (
        'use = "bypass"',
        'use = "surrogate"\nbudget = 4\nclean_images = 8\nsteps = 3\nmarked = 6\nchannels = 8\n'
        '[[attacks]]\nuse = "average"\ngain = [1.0, 4.0]\nclean_images = 8\nmarked = 70\n'
        '[[attacks]]\nuse = "embedder-leak"\nbudget = 4\nclean_images = 8\nsteps = 3\n'
        "marked = 6\ncodes = 2\nchannels = 8\n"
        '[[attacks]]\nuse = "regenerate"\npasses = [1, 2]\nclean_images = 8\nsteps = 3\n'
        '[[attacks]]\nuse = "regenerate"\nlabel = "gone"\npasses = 1\nautoencoder = "nowhere"',
    ),
    ('[[attacks]]\nuse = "prying"\nclean_images = 8\n', ""),
]


@pytest.mark.timeout(180)
def test_attacks_learn_from_images_of_others_and_from_the_embedder(run_suite, suite_file):
    present = ('use = "blind"', 'use = "present"')
    _, records, _ = run_suite(suite_file(*TAUGHT, present))
    for label, tier, steps in (
        ("surrogate 4", "samples", 3),
        ("average 1", "samples", 0),
        ("embedder-leak 4", "training", 3),
        ("regenerate 2", "samples", 3),
    ):
        found = value(records, "perfect", label, "bit-accuracy")
        assert found["outcome"] == Outcome.DONE
        assert (found["tier"], found["point"]["image"]["steps"]) == (tier, steps)
    gone = value(records, "perfect", "gone 1", "")
    assert gone["outcome"] == Outcome.UNAVAILABLE
    assert "attack regenerate: expected an autoencoder at" in gone["reason"]
    refused = value(records, "present", "embedder-leak 4", "")
    assert "no code whose bits could be learnt" in refused["reason"]
    assert value(records, "present", "average 4", "damage", "ssim")["value"] < 1

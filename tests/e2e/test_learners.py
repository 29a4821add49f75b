"""What adversaries learn once, before they meet any copy."""

import pytest
from rows import value

from fpbench.api import Outcome

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
    _, records, _ = run_suite(suite_file(*BARE), plugins=("learners",))
    assert sorted(said.read_text().split()) == ["greedy", "grey"]
    whole = value(records, "perfect", "grey 1", "bit-accuracy")["value"]
    half = value(records, "perfect", "grey 0.5", "bit-accuracy")["value"]
    assert half == 1 > 0.7 > whole  # of grey images nothing can be read
    assert "in place; clone it first" in value(records, "perfect", "greedy 0.5", "")["reason"]
    failed = value(records, "perfect", "prying", "")
    assert failed["outcome"] == Outcome.FAILED
    assert "as it should: attack prying: expected to use only what it declares" in failed["reason"]


def test_a_chain_has_no_part_that_learns(command, suite_file):
    chain = 'use = "chain"\nparts = [{ use = "grey", share = 0.5 }]'
    suite = suite_file(*BARE[:-1], ('use = "bypass"', chain))
    code, _, err = command("-p", "learners", "-p", "fpbench.testing.fakes", "plan", suite)
    assert code == 2
    assert "expected an attack that learns nothing before" in err

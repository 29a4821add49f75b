"""Coalitions, forgeries, chains and tuned attacks through the whole pipeline."""

import pytest
from rows import value

from fpbench.api import Outcome
from fpbench.execute.explaining import chain_of
from fpbench.execute.reach import artefacts_of
from fpbench.execute.runs import open_run

SUITE = """
[suite]
name = "blame"
[dataset]
use = "toy-faces"
train = 64
test = 64
reference = 64
[host]
use = "tiny-host"
[[methods]]
use = "perfect"
bits = 32
[[methods]]
use = "blind"
bits = 32
[[attacks]]
use = "chain"
label = "phone"
parts = [{ use = "brightness", factor = 1.2 }, { use = "jpeg", quality = 90 }]
[[attacks]]
use = "fine-tune"
steps = [1, 3]
copies = 3
images = 6
clean_images = 8
tune = { learning_rate = [1e-4, 1e-1] }
[[attacks]]
use = "collude"
users = [2, 3, 10]
rule = "layers"
[[attacks]]
use = "leaked-code"
copies = 3
[[attacks]]
use = "re-embed"
copies = 3
[[crosses]]
model = "collude"
image = "phone"
[population]
copies = 5
images = 4
shared = 2
[negatives]
real = 20
host = 20
attacked_host = 10
[score]
registered = 30
false_rate = 0.01
"""


@pytest.fixture(scope="module")
def done(run_in, tmp_path_factory):
    folder = tmp_path_factory.mktemp("blame")
    (folder / "suite.toml").write_text(SUITE)
    return run_in(folder, folder / "suite.toml")


def test_every_cell_ends_in_an_outcome(done):
    summary, records, _ = done
    # Untouched, phone, fine-tune twice, four coalitions with a cross each (two refused), forgeries.
    assert summary.cells == {Outcome.DONE: 18, Outcome.REFUSED: 6}
    assert value(records, "blind", "collude 10", "")["reason"] == (
        "it takes 10 users' copies, and there are 5"
    )
    assert "no embedder" in value(records, "blind", "leaked-code", "")["reason"]


def test_a_coalition_that_uses_whole_layers_shows_one_members_code(done):
    _, records, _ = done
    # The code of "perfect" is one tensor, taken from one member: he is traced, nobody is framed.
    for point, coalitions in (("collude 2", 2), ("collude 3", 1), ("collude 2 + phone", 2)):
        row = value(records, "perfect", point, "collusion", "traced")
        assert row["value"] > 0.98
        assert row["clusters"] == coalitions
        assert row["level"] == "coalition"
    assert value(records, "blind", "collude 2", "collusion", "lost")["value"] > 0.98


def test_a_leaked_code_frames_its_user_and_an_own_code_does_not(done):
    _, records, _ = done
    leaked = value(records, "perfect", "leaked-code", "forgery")
    assert leaked["value"] == 1
    assert leaked["clusters"] == 3
    assert leaked["level"] == "forgery"
    assert value(records, "perfect", "re-embed", "forgery")["value"] == 0
    assert value(records, "perfect", "re-embed", "damage", "psnr")["value"] < 40


def test_no_number_of_one_owner_is_made_where_there_is_none(done):
    _, records, _ = done
    found = {
        r["metric"]
        for r in records.values()
        if r["level"] in ("coalition", "forgery") and r["metric"]
    }
    assert found == {"collusion", "forgery", "attack-cost", "damage", "frechet-proxy"}


def test_the_adversary_keeps_what_serves_him_best(done):
    _, records, _ = done
    row = value(records, "perfect", "fine-tune 3", "bit-accuracy")
    assert row["point"]["model"]["tuned"]["learning_rate"] in (1e-4, 1e-1)
    assert row["clusters"] == 3  # the copies it was tuned on are not among them
    assert value(records, "perfect", "fine-tune 3", "attack-cost")["detail"] == {"steps": 3}
    assert value(records, "perfect", "fine-tune 3", "attack-cost")["cost"]["attack_s"] > 0


def test_the_page_says_who_is_blamed(done, tmp_path):
    from fpbench.report.build import build_page

    _, _, folder = done
    build_page(folder, tmp_path / "page")
    index = (tmp_path / "page" / "index.html").read_text()
    for words in (
        "collude 2",
        "Forged images are blamed on an innocent user: perfect under leaked-code (1.000)",
        "Users who put their copies together",
    ):
        assert words in index, words
    attack = (tmp_path / "page" / "attacks" / "fine-tune.html").read_text()
    assert "tried learning_rate" in attack
    assert "Training steps spent" in attack
    collude = (tmp_path / "page" / "attacks" / "collude.html").read_text()
    assert "Who is blamed" in collude
    assert "refused" in collude


def test_all_that_is_stored_is_reached_and_every_cell_has_its_inputs(done):
    run = open_run(done[2], ("fpbench.testing.fakes",))
    assert set(run.store.keys()) <= artefacts_of(run.plan).keys()
    labels = ("collude 2 + phone", "leaked-code", "fine-tune 3")
    for cell in (c for c in run.plan.cells if c.open and c.point.label in labels):
        chain = chain_of(run, cell.key)
        assert all(link.stored for link in chain if link.kind != "data set")
        assert chain[-1].kind == "data set"

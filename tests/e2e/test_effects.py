import pytest
import torch
from rows import value

from fpbench.api import Outcome
from fpbench.execute.request import Request
from fpbench.stages.measuring import Measurer
from fpbench.store import Store
from fpbench.testing import networks
from fpbench.testing.fakes import Blind, Perfect

TUNED = ("steps = [1, 3]", "steps = [1, 3]\ntune = { learning_rate = [1e-4, 3e-2] }")


@pytest.fixture
def out_of_reach(monkeypatch):
    """The mark's amplitude is no parameter any more: no attack on weights reaches it."""

    class Kept(torch.nn.Module):
        def __init__(self, bits, amplitude):
            super().__init__()
            self.kept = [networks_embedder(bits, amplitude)]

        def forward(self, images, codes):
            return self.kept[0](images, codes)

    networks_embedder = networks.BlockEmbedder
    monkeypatch.setattr(networks, "BlockEmbedder", Kept)


def no_effect(suite, store, method, point):
    """What metrics are told: of each subject, whether the attack left its mark alone."""
    plan, _ = Request(suite=str(suite), plugins=("fpbench.testing.fakes",)).plan()
    (cell,) = [c for c in plan.cells if (c.fit.method.label, c.point.label) == (method, point)]
    return Measurer(plan, Store(store)).evidence(cell).no_effect


def test_a_mark_that_an_attack_leaves_alone_is_no_survivor(
    out_of_reach, run_suite, suite_file, tmp_path
):
    suite, store = suite_file(), tmp_path / "store"
    summary, records, _ = run_suite(suite)
    assert no_effect(suite, store, "perfect", "fine-tune 3") == (True,) * 3
    assert no_effect(suite, store, "blind", "fine-tune 3") == (False,) * 3
    assert no_effect(suite, store, "perfect", "bypass") == (False,) * 5
    assert no_effect(suite, store, "perfect", "jpeg 50") == ()
    assert summary.cells == {Outcome.DONE: 16}
    effects = {(r["method"]["label"], r["point"]["label"]): r["effect"] for r in records.values()}
    untouched = {key for key, effect in effects.items() if effect == "none"}
    assert untouched == {
        ("perfect", point)
        for point in ("weight-noise 0.1", "weight-noise 0.3", "fine-tune 1", "fine-tune 3")
    }
    assert set(effects.values()) == {"none", ""}


def test_attacks_that_reach_the_mark_have_an_effect(run_suite, suite_file):
    summary, records, _ = run_suite(suite_file())
    assert summary.cells == {Outcome.DONE: 16}
    assert {r["effect"] for r in records.values()} == {""}


def test_the_strength_that_changes_nothing_has_no_effect_and_fails_nobody(run_suite, suite_file):
    summary, records, _ = run_suite(suite_file(("sigma = [0.1, 0.3]", "sigma = [0, 0.3]")))
    assert summary.cells == {Outcome.DONE: 16}
    for method in ("perfect", "blind"):
        assert value(records, method, "weight-noise 0", "bit-accuracy")["effect"] == "none"
        assert value(records, method, "weight-noise 0.3", "bit-accuracy")["effect"] == ""


def test_an_attack_that_changes_no_copy_at_any_strength_fails(run_suite, suite_file, monkeypatch):
    from fpbench_model_change.plugin import WeightNoise

    def idle(self, surface, strengths, ctx):
        for strength in strengths:
            yield strength, surface.copy

    with monkeypatch.context() as patch:
        patch.setattr(WeightNoise, "apply", idle)
        summary, records, _ = run_suite(suite_file())
    assert summary.cells == {Outcome.DONE: 12, Outcome.FAILED: 4}
    for strength in (0.1, 0.3):
        row = value(records, "perfect", f"weight-noise {strength}", "")
        assert "expected to change the copy at some strength" in row["reason"]
    assert value(records, "perfect", "bypass", "bit-accuracy")["outcome"] == Outcome.DONE


def test_a_model_attack_without_a_knob_is_run_once(run_suite, suite_file, monkeypatch):
    from fpbench_model_change.plugin import PermuteChannels

    def idle(self, surface, strengths, ctx):
        yield from ((strength, surface.copy) for strength in strengths)

    suite = suite_file(('use = "bypass"', 'use = "permute-channels"'))
    _, records, _ = run_suite(suite, folder="unknown")
    row = value(records, "perfect", "permute-channels", "")
    assert row["outcome"] == Outcome.FAILED
    assert "expected to know its hidden channels, got a LinearImages" in row["reason"]
    monkeypatch.setattr(PermuteChannels, "apply", idle)
    summary, records, _ = run_suite(suite, folder="known")
    assert summary.cells == {Outcome.DONE: 16}
    for key in ("bit-accuracy", "attribution"):
        attacked, clean = (
            value(records, "perfect", point, key) for point in ("permute-channels", "none")
        )
        assert attacked["by_copy"] == clean["by_copy"]


def tuning(folder):
    store = Store(folder.parent / "store")
    keys = [path.name for path in (folder.parent / "store" / "objects").glob("??/*")]
    metas = [store.meta(key) for key in keys if store.has(key)]
    return [meta for meta in metas if "judged_by" in meta]


def test_damage_of_a_candidate_is_relative_to_the_host_at_equal_counts(run_suite, suite_file):
    _, _, folder = run_suite(suite_file(TUNED), folder="tuned")
    found = tuning(folder)
    assert len(found) == 2
    for meta in found:
        assert meta["judged_by"] == "frechet-proxy"
        damage = [[point["damage"] for point in points] for points in meta["tried"]]
        # A hundredth of the rate hardly moves a copy; the proxy sees the larger one.
        assert abs(damage[0][0]) < 0.01
        assert abs(damage[1][1]) > 10 * abs(damage[0][1])


def test_bits_that_all_come_out_wrong_are_no_success(run_suite, suite_file, monkeypatch):
    from fpbench.stages import tuning as module

    assert module._left(0.0) == module._left(1.0) == 1
    assert module._left(0.5) == 0.5
    assert module._left(0.3) == pytest.approx(module._left(0.7))
    # Candidate 0 inverts all bits, candidate 1 leaves two in three.
    tried = iter([[{"strength": 1, "bit_accuracy": a, "damage": 0.0}] for a in (0.0, 0.66) * 2])
    monkeypatch.setattr(module, "_try", lambda *_: next(tried))
    _, _, folder = run_suite(suite_file(TUNED), folder="tuned")
    assert [meta["chosen"] for meta in tuning(folder)] == [1, 1]


def test_fakes_that_train_nothing_say_so():
    assert not Perfect.trains
    assert not Blind.trains

"""Published networks through a whole run, with weights that are drawn at random."""

import hashlib
import shutil
import warnings

import pytest
import torch
from click.testing import CliRunner
from rows import value

from fpbench.api import Outcome
from fpbench.backbones.weights import WrongWeights
from fpbench.cli.main import cli

INCEPTION = """
[[backbones]]
use = "inception"
layer = "64"
sha256 = "{}"
"""
LPIPS = """
[[backbones]]
use = "lpips-squeeze"
sha256 = "{}"
"""


def saved(state, path):
    torch.save(state, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


@pytest.fixture
def inception(weights):
    """Digest of random weights of Inception's first blocks, which is all that layer 64 needs."""
    import torch_fidelity.feature_extractor_inceptionv3 as parts

    blocks = {
        "Conv2d_1a_3x3": parts.BasicConv2d(3, 32, kernel_size=3, stride=2),
        "Conv2d_2a_3x3": parts.BasicConv2d(32, 32, kernel_size=3),
        "Conv2d_2b_3x3": parts.BasicConv2d(32, 64, kernel_size=3, padding=1),
    }
    return saved(torch.nn.ModuleDict(blocks).state_dict(), weights / "some-inception.pth")


@pytest.fixture
def squeeze(weights):
    """Digest of random weights of the network below LPIPS."""
    from torchvision import models

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = models.squeezenet1_1(weights=None).state_dict()
    return saved(state, weights / "some-squeezenet.pth")


@pytest.fixture
def suite_with(suite_file):
    """The default suite with tables of backbones, without what trains."""

    def write(*tables):
        end = "[score]"
        return suite_file((end, "".join(tables) + end), ("steps = [1, 3]", "steps = [1]"))

    return write


def test_missing_weights_leave_their_measures_unavailable_and_come_in_later(
    run_suite, suite_with, inception, squeeze, weights
):
    suite = suite_with(INCEPTION.format(inception), LPIPS.format(squeeze))
    summary, records, _ = run_suite(suite)
    assert set(summary.cells) == {Outcome.DONE}
    for metric, variant in (("fid", "64"), ("kid", "64"), ("imperceptibility", "lpips-squeeze")):
        row = value(records, "perfect", "none", metric, variant)
        assert row["outcome"] == Outcome.UNAVAILABLE
        assert "--weights" in row["reason"]
    accuracy = value(records, "perfect", "jpeg 50", "bit-accuracy")

    summary, records, _ = run_suite(suite, weights=str(weights))
    assert set(summary.cells) == {Outcome.DONE}
    # Nothing is trained, nothing is read again: only what the networks say is added.
    assert not [label for label in summary.seconds if label.startswith("train")]
    assert value(records, "perfect", "jpeg 50", "bit-accuracy")["value"] == accuracy["value"]
    fid = value(records, "perfect", "none", "fid", "64")
    assert fid["value"] > 0
    assert fid["detail"]["published_weights"] is False
    assert fid["detail"]["weights_sha256"] == inception
    attacked = value(records, "perfect", "weight-noise 0.3", "fid", "64")
    assert attacked["detail"]["ratio_to_untouched"] != 1
    assert 0 <= value(records, "perfect", "none", "precision-recall", "recall@64")["value"] <= 1
    # A copy of the blind method is the host, and an attack on images changes them.
    assert value(records, "blind", "none", "imperceptibility", "lpips-squeeze")["value"] == 0
    assert value(records, "perfect", "none", "imperceptibility", "lpips-squeeze")["value"] > 0
    assert value(records, "perfect", "jpeg 50", "damage", "lpips-squeeze")["value"] > 0

    assert run_suite(suite, weights=str(weights))[0].executed == 0


def test_scoring_again_needs_no_weights(run_suite, suite_with, inception, squeeze, weights):
    suite = suite_with(INCEPTION.format(inception), LPIPS.format(squeeze))
    _, _, folder = run_suite(suite, weights=str(weights))
    shutil.rmtree(weights)
    base = ["-p", "fpbench.testing.fakes", "score", str(folder), "--check"]
    done = CliRunner().invoke(cli, base)
    assert done.exit_code == 0, done.output
    assert ": 0 changed, 0 cells had none" in done.output


def test_fid_is_that_of_the_stored_features(run_suite, suite_with, inception, weights, tmp_path):
    import numpy as np

    from fpbench.execute.request import Request
    from fpbench.plan import Want
    from fpbench.store import Store

    suite = suite_with(INCEPTION.format(inception))
    _, records, _ = run_suite(suite, weights=str(weights))
    plan, _ = Request(str(suite), plugins=("fpbench.testing.fakes",), weights=str(weights)).plan()
    (backbone,), store = plan.ready, Store(tmp_path / "store")
    real = store.get(plan.backbone_key(backbone)).arrays["features"].astype(float)
    column = plan.column(plan.fits[0], Want(None, backbone))
    copies = []
    for user in range(5):
        key = plan.reading_key(plan.fits[0], user, None)
        arrays = store.shard(key, store.columns(key)[column]).arrays
        copies.append(arrays[f"{column}/64_features"])
    own = np.concatenate(copies).astype(float)
    a, b = np.cov(own.T), np.cov(real.T)
    gap = own.mean(0) - real.mean(0)
    # 20 images of 64 features have a singular covariance, whose product still has eigenvalues.
    roots = np.sqrt(np.clip(np.linalg.eigvals(b @ a).real, 0, None))
    expected = gap @ gap + np.trace(a + b) - 2 * roots.sum()
    found = value(records, plan.fits[0].method.label, "none", "fid", "64")["value"]
    assert found == pytest.approx(expected, rel=1e-3)


def test_damage_may_be_judged_by_fid(run_suite, suite_file, inception, weights):
    tables = INCEPTION.format(inception) + "[score]\ndamage_by = 'fid'\n"
    suite = suite_file(("[score]\n", tables))
    from fpbench.report.inputs import read_inputs
    from fpbench.report.tables import Board

    _, _, folder = run_suite(suite, weights=str(weights))
    board = Board(read_inputs(folder))
    assert board.distance_name == "FID-64 (other weights)"
    assert board.distance("perfect", "none").value > 0


def test_a_network_that_does_not_work_is_unavailable_and_stops_nothing(
    run_suite, suite_with, inception, weights
):
    path = weights / "some-inception.pth"
    state = torch.load(path, weights_only=True)  # noqa: TID251
    state["Conv2d_2a_3x3.conv.weight"][:] = torch.nan
    digest = saved(state, path)
    summary, records, _ = run_suite(suite_with(INCEPTION.format(digest)), weights=str(weights))
    assert set(summary.cells) == {Outcome.DONE}
    row = value(records, "perfect", "none", "fid", "64")
    assert row["outcome"] == Outcome.UNAVAILABLE
    assert "expected finite values" in row["reason"]


def test_published_names_with_other_content_are_refused_with_both_digests(
    run_suite, suite_with, weights
):
    (weights / "weights-inception-2015-12-05-6726825d.pth").write_bytes(b"something else")
    found = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(WrongWeights, match=f"6726825d, got {found}"):
        run_suite(suite_with('[[backbones]]\nuse = "inception"\n'), weights=str(weights))


def test_attacks_are_tuned_by_the_distance_that_the_suite_names(
    run_suite, suite_file, inception, weights
):
    from fpbench.store import Store

    suite = suite_file(
        ("[score]", INCEPTION.format(inception) + '[score]\ndamage_by = "fid"'),
        ("steps = [1, 3]", "steps = [1]\ntune = { learning_rate = [1e-4, 3e-2] }"),
    )

    def judged(folder):
        store = Store(folder.parent / "store")
        keys = [path.name for path in (folder.parent / "store" / "objects").glob("??/*")]
        metas = [store.meta(key) for key in keys if store.has(key)]
        return {meta["judged_by"] for meta in metas if "judged_by" in meta}

    _, _, folder = run_suite(suite)
    assert judged(folder) == {"frechet-proxy"}  # the weights are not there
    summary, _, folder = run_suite(suite, weights=str(weights))
    assert summary.cells == {Outcome.DONE: 14}
    assert judged(folder) == {"frechet-proxy", "64"}

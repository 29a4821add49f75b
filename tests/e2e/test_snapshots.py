"""Which of the states that a training kept is used, through a whole run."""

import drifting
import numpy as np
import pytest
import torch
from rows import value
from test_backbones import INCEPTION, inception, weights  # noqa: F401 - fixtures

from fpbench.api import Outcome, derive_seed
from fpbench.backbones import load
from fpbench.builtin.toy_faces.faces import draw
from fpbench.execute.reach import artefacts_of
from fpbench.execute.request import Request
from fpbench.plan import is_reserved
from fpbench.report.build import build_page
from fpbench.store import Store
from fpbench.testing import networks

PLUGINS = ("fpbench.testing.fakes", "drifting")
SUITE = """
[suite]
name = "kept"
[training]
snapshots = 4
[dataset]
use = "toy-faces"
train = 24
test = 10
reference = 10
[host]
use = "drifting-host"
[[methods]]
use = "drifting"
[[methods]]
use = "perfect"
[population]
copies = 2
images = 4
shared = 1
[negatives]
real = 8
host = 8
"""


@pytest.fixture
def suite(suite_file, inception):  # noqa: F811
    return suite_file(text=SUITE + INCEPTION.format(inception))


def planned(suite, weights="", *assignments):  # noqa: F811
    request = Request(str(suite), assignments, plugins=PLUGINS, weights=str(weights))
    return request.plan()[0]


def frechet(a, b):
    """In full covariances, by their eigenvalues."""
    gap, s, t = a.mean(0) - b.mean(0), np.cov(a.T), np.cov(b.T)
    roots = np.sqrt(np.clip(np.linalg.eigvals(s @ t).real, 0, None))
    return gap @ gap + np.trace(s + t) - 2 * roots.sum()


@pytest.fixture
def chosen(run_suite, suite, weights, tmp_path):  # noqa: F811
    """(plan, store, records, folder) of a run that could choose."""
    drifting.ASSEMBLED.clear()
    summary, records, folder = run_suite(suite, plugins=("drifting",), weights=str(weights))
    assert set(summary.cells) == {Outcome.DONE}
    return planned(suite, weights), Store(tmp_path / "store"), records, folder


def test_the_state_nearest_to_training_images_is_used(chosen):
    plan, store, records, folder = chosen
    own = next(fit for fit in plan.fits if fit.method.label == "drifting")
    for key, training in ((plan.host_key, plan.host_training), (own.key, own.training)):
        used, last = store.get(key), store.get(training)
        choice = used.meta["choice"]
        assert (choice["step"], choice["of"], choice["images"]) == (2, 4, 24)
        assert set(choice["distances"]) == {"1", "2", "3", "4"}
        moved = last.arrays["map.bias"] - used.arrays["map.bias"]
        np.testing.assert_allclose(moved, drifting.DRIFT[4] - drifting.DRIFT[2], rtol=1e-5)
    row = value(records, "drifting", "none", "training", "method tiny")
    assert row["detail"]["choice"] == choice
    build_page(folder, folder / "page")
    page = (folder / "page" / "methods" / "drifting.html").read_text()
    assert "state of step 2 of 4, of 4 the nearest to 24 training images" in page
    # So few images are of one copy, whose code no user has.
    codes = np.array(sorted(set(drifting.ASSEMBLED)))
    assert (~is_reserved(codes)).sum() == 1
    assert len(codes) == 1 + 2
    check_distance(plan, store)
    assert set(store.keys()) <= artefacts_of(plan).keys()


def check_distance(plan, store):
    """The distance of a host's state, from images that are drawn again here."""
    network = load("inception", plan.chooser.path, torch.device("cpu"), "64", "fp32")
    real = network(torch.from_numpy(draw(np.arange(24), 32)).permute(0, 3, 1, 2)).numpy()
    shard = store.shard(plan.snapshots_key(plan.host_training), "3")
    state = {name: torch.from_numpy(array) for name, array in shard.arrays.items()}
    generator = networks.generator(state, torch.device("cpu"))
    seeds = [derive_seed(0, "latent", "choice", i) for i in range(24)]
    made = network(generator.sample(generator.prior(seeds))).numpy()
    found = store.meta(plan.host_key)["choice"]["distances"]["3"]
    assert found == pytest.approx(frechet(made.astype(float), real.astype(float)), rel=1e-3)


def test_without_weights_the_last_is_used_and_later_weights_train_nothing_again(
    run_suite,
    suite,
    weights,  # noqa: F811
    tmp_path,
):
    summary, _, _ = run_suite(suite, plugins=("drifting",))
    assert set(summary.cells) == {Outcome.DONE}
    plan, store = planned(suite), Store(tmp_path / "store")
    choice = store.meta(plan.host_key)["choice"]
    assert (choice["step"], choice["of"], choice["distances"]) == (4, 4, {})
    summary, _, _ = run_suite(suite, plugins=("drifting",), weights=str(weights))
    assert set(summary.cells) == {Outcome.DONE}
    again = [label for label in summary.seconds if label.startswith("train")]
    assert again == ["train perfect"]  # it is made of the host, which is another one now


def test_keys_know_of_a_choice_only_where_there_is_one(suite, weights):  # noqa: F811
    asked, other = planned(suite, weights), planned(suite, weights, "training.snapshots=5")
    without = planned(suite)
    none = planned(suite, weights, "training.snapshots=0")
    assert (
        none.host_key == none.host_training == planned(suite, "", "training.snapshots=0").host_key
    )
    assert [fit.key for fit in none.fits] == [fit.training for fit in none.fits]
    assert asked.host_training == without.host_training != other.host_training
    assert len({plan.host_key for plan in (asked, without, other, none)}) == 4
    (own, perfect), (own_without, blind_without) = asked.fits, without.fits
    assert own.training == own_without.training
    assert own.key != own_without.key
    assert perfect.key == perfect.training != blind_without.key

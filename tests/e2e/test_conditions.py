"""Images that are drawn by class: of which, whatever the method, the attack and the generator."""

import classes
import pytest
from rows import value

from fpbench.api import Outcome, derive_seed
from fpbench.execute.request import Request
from fpbench.store import Store
from fpbench.testing.conformance import check_method

SUITE = """
[suite]
name = "classes"
[dataset]
use = "class-faces"
train = 64
test = 50
reference = 64
[host]
use = "class-host"
[[methods]]
use = "telling"
[[methods]]
use = "perfect"
[[attacks]]
use = "weight-noise"
sigma = [0.1]
[[attacks]]
use = "bypass"
[[attacks]]
use = "collude"
users = [2]
[[attacks]]
use = "resample"
[population]
copies = 4
images = 6
shared = 2
[negatives]
real = 40
host = 24
attacked_host = 12
[score]
registered = 4
false_rate = 0.1
"""


@pytest.fixture(scope="module")
def finished(run_in, tmp_path_factory):
    place = tmp_path_factory.mktemp("classes")
    path = place / "suite.toml"
    path.write_text(SUITE)
    _, records, _ = run_in(place, path, plugins=("classes",))
    plan, _ = Request(str(path), plugins=("fpbench.testing.fakes", "classes")).plan()
    return plan, Store(place / "store"), records


def expected(plan, user, count):
    """The classes of a user's images, computed once more."""
    seed = plan.suite.header.seed
    return [derive_seed(seed, "condition", user, i) % 50 % 3 for i in range(count)]


def read(store, key):
    """The classes that were read from the images of a reading."""
    shards = [store.shard(key, shard) for shard in set(store.columns(key).values())]
    (logits,) = [a for s in shards for n, a in s.arrays.items() if n.endswith("/logits")]
    return classes.class_of(logits[:, 0])


@pytest.mark.timeout(180)
def test_classes_go_by_user_and_image_alone(finished):
    plan, store, records = finished
    telling = next(fit for fit in plan.fits if fit.method.label == "telling")
    seen = 0
    for model in plan.open_points(telling):
        for user in plan.users(telling):
            index = plan.subject(telling, model, user)
            if index is not None:
                found = read(store, plan.reading_key(telling, index, model))
                assert found == expected(plan, user, 6), model
                seen += 1
    assert seen >= 4 * 4
    users = [each for user in range(4) for each in expected(plan, user, 6)]
    assert len(set(users)) == 3
    assert read(store, plan.null_key(telling, "host", None)) == users
    assert Outcome.FAILED not in {r["outcome"] for r in records.values()}


def test_another_method_draws_the_same_classes(finished):
    plan, store, records = finished
    perfect = next(fit for fit in plan.fits if fit.method.label == "perfect")
    for user in plan.users(perfect):
        images = store.get(plan.drawing_key(perfect, user, None)).arrays["images"]
        red = images[..., 0].mean((1, 2)) / 127.5 - 1
        assert classes.class_of(2 * red) == expected(plan, user, 6)  # it halves what it marks
    assert value(records, "perfect", "none", "bit-accuracy")["value"] == 1
    assert value(records, "perfect", "resample", "bit-accuracy")["value"] == 1
    assert value(records, "perfect", "bypass", "bit-accuracy")["value"] < 1


def test_the_contract_is_checked_under_conditions(tmp_path):
    met = []

    class Asked(classes.ClassHost):
        def assemble(self, state, ctx):
            generator = super().assemble(state, ctx)
            made = generator.prior

            def prior(seeds, conditions=()):
                met.extend(conditions)
                return made(seeds, conditions)

            generator.prior = prior
            return generator

    faces = classes.ClassFaces(classes.ClassFaces.Params(train=64, test=50))
    host = Asked(Asked.Params())
    method = classes.Telling(classes.Telling.Params())
    assert not check_method(method, tmp_path, host=host, dataset=faces).sealed
    assert set(met) == {0, 1, 2}

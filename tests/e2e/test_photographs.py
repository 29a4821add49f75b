"""A host without a model: test images of the data set are what is marked."""

import numpy as np
from rows import value

from fpbench.api import Outcome
from fpbench.execute.request import Request
from fpbench.store import Store

SHOWN = (
    ('use = "tiny-host"', 'use = "photographs"'),
    ('use = "blind"', 'use = "spying"\n[[methods]]\nuse = "weight-modulation"'),
    (
        'use = "bypass"',
        'use = "bypass"\n[[attacks]]\nuse = "resample"\n[[attacks]]\nuse = "copy-residual"\n'
        'clean_images = 8\n[[attacks]]\nuse = "collude"\nusers = 2',
    ),
)
WHO = ("-p", "spying", "-p", "fpbench.testing.fakes")


def pictures(images):
    """The bytes of each of (N, H, W, 3) or (N, 3, H, W) images, by which pictures are told."""
    last = images if images.shape[-1] == 3 else images.transpose(0, 2, 3, 1)
    return [np.ascontiguousarray(image).tobytes() for image in last]


def test_no_picture_plays_two_parts(run_suite, suite_file, tmp_path):
    path = suite_file(*SHOWN)
    _, records, _ = run_suite(path, plugins=("spying",))
    plan, _ = Request(suite=str(path), plugins=("fpbench.testing.fakes", "spying")).plan()
    store, suite, dataset = Store(tmp_path / "store"), plan.suite, plan.suite.dataset
    train = pictures(dataset.read("train", np.arange(64)))
    test = pictures(dataset.read("test", np.arange(64)))
    assert (suite.clean_from, suite.carriers_from, suite.pictures_from) == (20, 28, 32)
    shown = pictures(store.get(plan.host_key).arrays["pictures"])
    assert shown == test[32:]
    # Users in a row have pictures in a row.
    images = suite.population.images
    fit = next(fit for fit in plan.fits if fit.method.label == "spying")
    kept = store.get(fit.key).arrays
    assert set(pictures(kept["drawn"])) == set(pictures(kept["trained"])) == set(train)
    drawn = store.get(plan.drawing_key(fit, None, None)).arrays
    (of_host,) = drawn.values()
    assert pictures(of_host) == shown[: 5 * images]
    for label in ("none", "bypass", "resample", "jpeg 90"):
        assert value(records, "perfect", label, "bit-accuracy")["outcome"] == Outcome.DONE
    assert value(records, "perfect", "none", "bit-accuracy")["value"] == 1
    assert abs(value(records, "perfect", "bypass", "bit-accuracy")["value"] - 0.5) < 0.15
    for label in ("weight-noise 0.1", "fine-tune 3", "collude 2"):
        refused = value(records, "perfect", label, "")
        assert refused["outcome"] == Outcome.REFUSED
        assert refused["reason"] == "no model to attack: the host photographs shows pictures"
    refused = value(records, "weight-modulation", "none", "")
    assert refused["reason"].startswith("the host photographs shows pictures: there is no model")


def test_users_need_pictures_of_their_own(command, suite_file, tmp_path):
    path = suite_file(*SHOWN, ("test = 64", "test = 35"))
    code, _, err = command(*WHO, "plan", path, "--runs", tmp_path)
    assert code == 2
    assert "expected at least 36 images in the split 'test', got 35" in err

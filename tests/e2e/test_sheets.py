"""Images lie apart from readings, and only where a page shows them."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from rows import value
from safetensors.numpy import load_file

from fpbench.execute.request import Request
from fpbench.stages.bench import Bench, images_of
from fpbench.stages.issue import copy_of
from fpbench.store import Store


def pictures(store):
    """Key -> number of images in its arrays."""
    found = {}
    for file in store.root.rglob("arrays.safetensors"):
        arrays = load_file(file).values()
        count = sum(len(a) for a in arrays if a.dtype == np.uint8 and a.ndim == 4)
        if count:
            found[file.parents[1].name] = found.get(file.parents[1].name, 0) + count
    return found


def test_only_what_pages_show_is_kept_and_codes_are_compared_in_numbers(
    run_suite, suite_file, tmp_path
):
    suite = suite_file(
        ("steps = [1, 3]", "steps = [1]"),
        ("sigma = [0.1, 0.3]", "sigma = [0.1]"),
        ("quality = [90, 50]", "quality = [50]"),
    )
    _, records, folder = run_suite(suite)
    plan, _ = Request(str(suite), plugins=("fpbench.testing.fakes",)).plan()
    store, expected = Store(tmp_path / "store"), {}
    for fit in plan.fits:
        # Two images at each point: of user 0 everywhere, of user 1 and the host untouched alone.
        points = plan.open_points(fit)
        expected |= {plan.sheet_key(fit, 0, m): 2 * len(images) for m, images in points.items()}
        expected |= {plan.sheet_key(fit, user, None): 2 for user in (1, None)}
        assert plan.sheet_key(fit, 2, None) == ""
        # What the next image attack would draw again: four of each copy, and of the host.
        expected |= {plan.drawing_key(fit, user, None): 4 for user in range(5)}
        expected |= {
            plan.drawing_key(fit, None, m): 20 if m is None else 10
            for m in points
            if plan.host_is_negative(m)
        }
        assert plan.drawing_key(fit, 0, next(m for m in points if m is not None)) == ""
    assert pictures(store) == expected
    index = json.loads((folder / "samples" / "samples.json").read_text())
    for strips in index["methods"].values():
        assert len(strips["codes"]) == 2
        assert set(strips["points"]) == {point.label for point in plan.points} - {"none"}
    # The likeness of codes, from images that are drawn once more.
    bench, fit = Bench(plan, store, torch.device("cpu")), plan.fits[0]
    copies = [copy_of(bench, fit, user) for user in range(5)]
    shared = images_of("shared", 2)
    images = [c.sample(bench.latents(c, shared)).numpy().astype(float) for c in copies]
    errors = [np.square(a - b).mean(axis=(1, 2, 3)) for a, b in pairwise(images)]
    row = value(records, "perfect", "none", "code-influence", "psnr")
    psnr = [10 * np.log10(255**2 / error).mean() for error in errors]
    assert row["by_copy"] == pytest.approx(psnr, rel=1e-12)


def test_sheets_are_of_the_first_training_alone(suite_file):
    suite = suite_file(("[score]", "[training]\nseeds = [1, 2]\n[score]"))
    request = Request(str(suite), plugins=("fpbench.testing.fakes",))
    text = suite.read_text().replace('use = "blind"', 'use = "broken"')
    suite.write_text(text)
    plan, _ = request.plan()
    shown = {(f.method.label, f.seed): bool(plan.sheet_key(f, 0, None)) for f in plan.fits}
    assert shown == {("perfect", 1): True, ("broken", 1): True, ("broken", 2): False}

"""Data that cannot be trained on is refused when the plan is made."""

import pytest

from fpbench.api import MissingResource, SampleInfo, SpecError
from fpbench.execute.request import Request
from fpbench.nn.limits import objection
from fpbench.plan import make_plan
from fpbench.registry import load
from fpbench.spec import read_suite


def info(size, train=1000):
    return SampleInfo.of_images(size, {"train": train, "test": 10, "reference": 10})


@pytest.mark.parametrize("size", [16, 32, 64, 512])
def test_powers_of_two_are_fine(size):
    assert objection(info(size), 32) == ""


@pytest.mark.parametrize("size", [8, 48, 100, 1024])
def test_other_sizes_are_named(size):
    assert f"got {size}; set [dataset] size" in objection(info(size), 32)


def test_fewer_images_than_a_batch_are_named():
    assert "at least a batch of 32 images to train on, got 31" in objection(info(32, 31), 32)


def plan(*assignments):
    catalogue = load()
    suite = read_suite("quickstart", catalogue, assignments=assignments)
    return make_plan(suite, catalogue.metrics())


def test_every_method_and_the_host_are_asked():
    with pytest.raises(SpecError) as caught:
        plan("dataset.train=20")
    found = str(caught.value)
    for who in ("host stylegan2", "scalable-gan", "weight-modulation", "hidden"):
        assert f"{who}: expected at least a batch" in found


def test_a_missing_download_is_refused_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("FPBENCH_DATA", str(tmp_path))
    catalogue = load()
    suite = read_suite("celeba-128", catalogue)
    with pytest.raises(MissingResource, match="fpbench prepare"):
        make_plan(suite, catalogue.metrics())


def test_a_parameter_without_effect_is_refused():
    with pytest.raises(SpecError, match="path_weight needs architecture"):
        plan("host.path_weight=2.0")


def test_where_the_images_of_a_small_folder_went_is_said_first(suite_file):
    few = ("train = 64\ntest = 64", "train = 4\ntest = 64")
    hungry = ('use = "tiny-host"', 'use = "stylegan2"')
    with pytest.raises(SpecError) as caught:
        Request(str(suite_file(few, hungry)), plugins=("fpbench.testing.fakes",)).plan()
    first, second = caught.value.problems[:2]
    assert first.startswith("dataset toy-faces: of 132 images 64 are in test and 64 in reference")
    assert "4 are left to train on" in first
    assert second.startswith("host stylegan2: expected at least a batch")

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from fpbench.backbones.distances import fid, kid, precision_recall, reference_arrays
from fpbench.stats.frechet import frechet, frechet_to, moments, reference


class Flat(TensorDataset):
    """Features as images of one row, which `Given` turns back."""

    def __init__(self, features):
        super().__init__(torch.from_numpy(features))

    def __getitem__(self, index):
        return super().__getitem__(index)[0]


@pytest.fixture(scope="module")
def measured():
    """What torch-fidelity's own call finds for features that are given."""
    from torch_fidelity import FeatureExtractorBase, calculate_metrics, register_feature_extractor

    class Given(FeatureExtractorBase):
        def __init__(self, name, features_list, **kwargs):
            super().__init__(name, features_list)

        def forward(self, given):
            return (given,)

        @staticmethod
        def get_provided_features_list():
            return ("all",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "all"

    register_feature_extractor("given", Given)

    def measure(real, features, **options):
        return calculate_metrics(
            input1=Flat(features),
            input2=Flat(real),
            feature_extractor="given",
            cuda=False,
            save_cpu_ram=True,
            verbose=False,
            **options,
        )

    return measure


def features(seed, count, size=24, shift=0.0):
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(9).normal(0, size**-0.5, (size, size))
    return (rng.normal(shift, 1, (count, size)) @ mix).astype(np.float32)


def test_fid_is_torch_fidelity_s(measured):
    real, other = features(1, 300), features(2, 200, shift=0.2)
    expected = measured(real, other, fid=True)["frechet_inception_distance"]
    assert fid(reference_arrays(real), other) == pytest.approx(
        expected, rel=1e-6
    )  # single-precision means


@pytest.mark.parametrize("count", [15, 200])
def test_the_kept_root_gives_the_distance_of_both_covariances(count):
    real, other = features(1, count), features(2, count + 5, shift=0.2)
    expected = frechet(*moments(real), *moments(other))
    assert fid(reference_arrays(real), other) == expected
    kept = reference(real)
    assert frechet_to(kept, *moments(other)) == expected
    np.testing.assert_allclose(kept.root @ kept.root, kept.covariance, atol=1e-12)


def test_what_is_kept_of_real_images_gives_the_distance_after_storing(tmp_path):
    real, other = features(1, 40), features(2, 30)
    np.savez(tmp_path / "real.npz", **reference_arrays(real))
    with np.load(tmp_path / "real.npz") as stored:
        assert list(stored) == ["features", "mean", "covariance", "root"]
        assert fid(stored, other) == fid(reference_arrays(real), other)
        np.testing.assert_array_equal(stored["features"], real)
        assert stored["features"].dtype == np.float32


def test_kid_over_subsets_is_torch_fidelity_s(measured):
    real, other = features(1, 60), features(2, 40, shift=0.2)
    expected = measured(real, other, kid=True, kid_subset_size=40)
    found = kid(real, other)
    assert (found.subset, found.subsets) == (40, 100)
    assert found.value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)
    assert found.spread == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-6)


def test_kid_of_all_images_is_taken_once_and_is_torch_fidelity_s(measured):
    real, other = features(1, 50), features(2, 50, shift=0.2)
    expected = measured(real, other, kid=True, kid_subset_size=50)
    found = kid(real, other)
    assert (found.subset, found.subsets, found.spread) == (50, 1, 0)
    assert found.value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-4)


def test_subsets_of_kid_have_a_thousand_images_at_most(measured, monkeypatch):
    monkeypatch.setattr("fpbench.backbones.distances._SUBSETS", 1)
    real, other = features(1, 1100, size=4), features(2, 1001, size=4, shift=0.2)
    expected = measured(real, other, kid=True, kid_subsets=1)
    found = kid(real, other)
    assert (found.subset, found.subsets) == (1000, 1)
    assert found.value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)


def test_precision_and_recall_are_torch_fidelity_s(measured):
    real, other = features(1, 80, size=3), features(2, 80, size=3) * np.float32(0.4)
    expected = measured(real, other, prc=True)
    found = precision_recall(real, other)
    assert found == (expected["precision"], expected["recall"])
    # Images closer together than real ones look real, and cannot make them all.
    assert found.recall < 0.8 < found.precision


def test_too_few_images_or_other_features_are_refused_with_what_was_expected():
    good = features(1, 5)
    for bad in (good[:1], good[:, :3], good[0]):
        with pytest.raises(ValueError, match="kid: expected features"):
            kid(good, bad)
        with pytest.raises(ValueError, match="precision_recall: expected features"):
            precision_recall(bad, good)
    with pytest.raises(ValueError, match="at least 4 images"):
        precision_recall(good, good[:3])
    with pytest.raises(ValueError, match="expected"):
        fid(reference_arrays(good), good[:, :3])
    with pytest.raises(ValueError, match="finite"):
        reference_arrays(np.full((3, 2), np.nan, np.float32))

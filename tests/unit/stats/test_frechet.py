import numpy as np
import pytest
import scipy.linalg

from fpbench.stats import frechet, frechet_by_copy, moments, reference


def features(seed, count, size, scale=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(shift, scale, (count, size)) @ rng.normal(0, 1, (size, size))


def test_moments_equal_numpy_s():
    values = features(0, 40, 6).astype(np.float32)
    mean, covariance = moments(values)
    np.testing.assert_allclose(mean, values.astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(covariance, np.cov(values.astype(np.float64), rowvar=False))
    assert mean.dtype == covariance.dtype == np.float64


def test_distance_equals_the_matrix_root():
    m1, s1 = moments(features(1, 200, 12))
    m2, s2 = moments(features(2, 300, 12, scale=1.5, shift=0.3))
    root = scipy.linalg.sqrtm(s1 @ s2)
    expected = np.sum((m1 - m2) ** 2) + np.trace(s1 + s2 - 2 * np.real(root))
    assert frechet(m1, s1, m2, s2) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [20, 400])
def test_distance_equals_the_eigenvalue_formula_of_torch_fidelity(count):
    (m1, s1), (m2, s2) = (moments(features(seed, count, 48)) for seed in (3, 4))
    roots = np.sqrt(np.linalg.eigvals(s1.dot(s2)).astype(np.complex128)).real.sum()
    expected = (m1 - m2).dot(m1 - m2) + np.trace(s1) + np.trace(s2) - 2 * roots
    assert frechet(m1, s1, m2, s2) == pytest.approx(expected, rel=1e-5)


def test_distance_of_independent_features_has_a_closed_form():
    m1, m2 = np.array([0.0, 1.0]), np.array([3.0, 1.0])
    v1, v2 = np.array([4.0, 0.0]), np.array([1.0, 9.0])
    expected = 9 + (2 - 1) ** 2 + (0 - 3) ** 2
    assert frechet(m1, np.diag(v1), m2, np.diag(v2)) == pytest.approx(expected)


def test_distance_to_itself_is_zero_with_fewer_images_than_features():
    mean, covariance = moments(features(5, 10, 64))
    assert 0 <= frechet(mean, covariance, mean, covariance) < 1e-12 * np.trace(covariance)


def test_distance_is_exact_with_fewer_images_than_features():
    one, two = features(8, 20, 64), features(9, 50, 64)
    x, y = ((f - f.mean(axis=0)) / np.sqrt(len(f) - 1) for f in (one, two))
    # Without a root: tr (S1 S2)^(1/2) is the sum of the singular values of X Y'.
    expected = np.sum((one.mean(axis=0) - two.mean(axis=0)) ** 2) + (x**2).sum() + (y**2).sum()
    expected -= 2 * scipy.linalg.svdvals(x @ y.T).sum()
    assert frechet(*moments(one), *moments(two)) == pytest.approx(expected, rel=1e-12)


def test_distance_is_symmetric():
    one, two = moments(features(6, 30, 8)), moments(features(7, 30, 8))
    assert frechet(*one, *two) == pytest.approx(frechet(*two, *one))


def test_one_image_or_bad_shapes_are_refused_with_what_was_expected():
    for bad in (np.zeros((1, 3)), np.zeros(5), np.full((4, 3), np.nan)):
        with pytest.raises(ValueError, match="expected"):
            moments(bad)
    with pytest.raises(ValueError, match="expected"):
        frechet(np.zeros(2), np.eye(2), np.zeros(3), np.eye(3))


@pytest.mark.parametrize("features", [5, 80], ids=["more images", "more features"])
def test_distances_without_one_copy_equal_those_of_the_others_alone(features):
    rng = np.random.default_rng(3)
    real = reference(rng.normal(0, 1, (200, features)))
    copies = [rng.normal(c / 10, 1, (7 + c, features)) for c in range(6)]
    whole, without = frechet_by_copy(copies, real)
    everything = [copies[:c] + copies[c + 1 :] for c in range(6)]
    for found, kept in zip((whole, *without), (copies, *everything), strict=True):
        mean, covariance = moments(np.concatenate(kept))
        assert found == pytest.approx(frechet(mean, covariance, real.mean, real.covariance))

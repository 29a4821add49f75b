import hashlib

import numpy as np
import pytest
import torch

from fpbench import stats
from fpbench.api.images import to_float, to_uint8
from fpbench.builtin.toy_faces.faces import draw
from fpbench.nn import distortions
from fpbench.nn.draws import Draws
from fpbench.nn.features import TOY_FEATURES_FILE, ToyFeatures

COUNT = 400


def _rng(seed=0):
    return torch.Generator().manual_seed(seed)


def _faces(first, count=COUNT, size=32):
    return torch.from_numpy(draw(np.arange(first, first + count), size)).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def features():
    return ToyFeatures()


@pytest.fixture(scope="module")
def distance(features):
    """Fréchet distance of images to clean faces."""
    real = stats.moments(features(_faces(20_000_000, 800)))
    return lambda images: stats.frechet(*stats.moments(features(to_uint8(images))), *real)


def _noise(images, sigma):
    return distortions.noise(images, torch.full((len(images),), sigma), Draws(_rng(), len(images)))


def _blur(images, sigma):
    return distortions.blur(images, torch.full((len(images),), sigma))


def _jpeg(images, quality):
    return distortions.jpeg(images, torch.full((len(images),), quality))


def _erase(images, area):
    share = torch.full((len(images),), area)
    return distortions.paste(
        -torch.ones_like(images), images, share, Draws(_rng(), len(images)), square=True
    )


def _tint(images, change):
    factors = 1 + change * (torch.rand(len(images), 3, 1, 1, generator=_rng()) * 2 - 1)
    return (images + 1) * factors - 1


def test_the_file_is_small_and_the_one_that_the_code_names():
    data = TOY_FEATURES_FILE.read_bytes()
    assert len(data) <= 1_000_000
    # Another file is another version of every distance: bump the metrics', then this.
    pinned = "7d309ed620253095912d1d727dbc69a997a87959597ec22a810a9060e076dd1c"
    assert hashlib.sha256(data).hexdigest() == pinned


def test_two_networks_agree_and_leave_no_gradient(features):
    images = _faces(0, 8)
    first, second = features(images), ToyFeatures()(images)
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not features.training
    assert first.dtype == torch.float32


@pytest.mark.parametrize("size", [16, 20, 32, 48, 64, 65, 128])
def test_any_side_from_16_pixels_gives_64_finite_features(features, size):
    values = features(_faces(0, 3, size))
    assert values.shape == (3, 64)
    assert values.isfinite().all()


def test_features_of_an_image_do_not_depend_on_its_batch(features):
    images = _faces(0, 8)
    alone = torch.cat([features(image[None]) for image in images])
    torch.testing.assert_close(features(images), alone, atol=1e-3, rtol=1e-3)


def test_clean_faces_have_mean_zero_and_at_most_the_variance_that_whitening_leaves(features):
    mean, covariance = stats.moments(features(_faces(30_000_000, 2000)))
    assert np.abs(mean).max() < 0.15
    # Half of it and half of that of distorted faces make the identity.
    assert np.linalg.eigvalsh(covariance).max() < 2.2


@pytest.mark.parametrize(
    ("distort", "levels"),
    [
        (_noise, (0.02, 0.05, 0.1, 0.2)),
        (_blur, (0.5, 0.8, 1.2, 2.0)),
        (_jpeg, (95.0, 70.0, 40.0, 10.0)),
        (_erase, (0.02, 0.05, 0.1, 0.3)),
        (_tint, (0.1, 0.2, 0.4, 0.8)),
    ],
)
def test_distance_grows_with_strength_and_far_beyond_that_of_other_faces(distance, distort, levels):
    clean = to_float(_faces(10_000_000))
    distances = [distance(clean), *(distance(distort(clean, level)) for level in levels)]
    assert distances == sorted(distances)
    assert distances[-1] > 3 * distances[0]


def test_broken_faces_are_far_from_real_ones_where_the_host_is_sharp(distance):
    host = to_float(_faces(10_000_000))
    lower_half_of_another = torch.cat([host[:, :, :16], host.roll(1, 0)[:, :, 16:]], dim=2)
    for broken in (_noise(host, 0.1), host.flip(2), lower_half_of_another, _erase(host, 0.2)):
        assert distance(broken) > 2 * distance(host)
    assert distance(_noise(host, 0.005)) < 1.2 * distance(host)


def test_broken_faces_are_far_from_real_ones_where_the_host_is_blurred(distance):
    host = _blur(to_float(_faces(10_000_000)), 1.0)
    for broken in (_noise(host, 0.1), host.flip(2), _erase(host, 0.2)):
        assert distance(broken) > 1.5 * distance(host)
    for harmless in (_jpeg(host, 95.0), _noise(host, 0.01)):
        assert distance(harmless) < 1.2 * distance(host)

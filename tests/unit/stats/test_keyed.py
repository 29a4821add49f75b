import numpy as np
import pytest

from fpbench.stats import attributability


def brute_force(scores, owners, real):
    distinguishable, attributable = [], []
    for user in range(scores.shape[1]):
        own = [row for row, owner in zip(scores, owners, strict=True) if owner == user]
        silent = sum(row[user] < 0 for row in real) / len(real)
        fires = sum(row[user] > 0 for row in own) / len(own)
        distinguishable.append((silent + fires) / 2)
        right = 0
        for row in own:
            others = [score for other, score in enumerate(row) if other != user]
            right += row[user] > 0 and all(score < 0 for score in others)
        attributable.append(right / len(own))
    return distinguishable, attributable


@pytest.mark.parametrize("users", [1, 2, 7])
def test_both_measures_equal_a_loop_over_images(users):
    rng = np.random.default_rng(users)
    owners = rng.permutation(np.arange(40 * users) % users)
    scores = rng.integers(-4, 2, size=(len(owners), users)).astype(float)  # zeros among them
    scores[np.arange(len(owners)), owners] += 3
    real = rng.integers(-9, 2, size=(50, users)).astype(float)
    found = attributability(scores, owners, real)
    expected = brute_force(scores, owners, real)
    assert np.allclose(found.distinguishability, expected[0], atol=1e-12)
    assert np.allclose(found.attributability, expected[1], atol=1e-12)
    assert 0 < found.attributability.mean() < 1


def test_a_key_that_fires_on_everything_attributes_nothing_to_the_others():
    scores = np.array([[1.0, 2.0], [-1.0, 2.0]])
    found = attributability(scores, [0, 1], [[-1.0, 1.0]])
    assert found.distinguishability.tolist() == [1.0, 0.5]
    assert found.attributability.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("scores", "owners", "real", "reason"),
    [
        (np.ones(3), [0, 0, 0], np.ones((1, 1)), r"scores \(N, U\)"),
        (np.ones((3, 2)), [0, 1], np.ones((1, 2)), r"owners \(N,\)"),
        (np.ones((2, 2)), [0, 1], np.ones((1, 3)), r"\(M, 2\) of real"),
        (np.ones((2, 2)), [0, 1], np.ones((0, 2)), r"\(M, 2\) of real"),
        (np.ones((2, 2)), [0, 0], np.ones((1, 2)), r"those of users \[0\]"),
        (np.ones((2, 2)), [0, 2], np.ones((1, 2)), r"those of users \[0, 2\]"),
    ],
)
def test_what_does_not_fit_is_refused(scores, owners, real, reason):
    with pytest.raises(ValueError, match=reason):
        attributability(scores, owners, real)

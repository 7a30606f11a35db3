"""Which photos of a large set are compared: neighbours, and those that look alike, without all pairs."""

import numpy as np

from tools.photos.pairs import alike_pairs, all_pairs, following_pairs


def test_neighbours_in_order():
    """Each photo with those after it, fewer and fewer; the last one is next to the first."""
    pairs = following_pairs(100)
    assert {(0, 1), (0, 4), (0, 16), (0, 99)} <= set(pairs) and (0, 50) not in pairs
    assert len(pairs) < 9 * 100
    assert following_pairs(3) == all_pairs(3) == [(0, 1), (0, 2), (1, 2)]


def test_photos_that_look_alike_meet():
    """Places are visited twice, far apart in order: every photo is paired with the others of its place."""
    rng = np.random.default_rng(0)
    places = [rng.integers(0, 256, (60, 128)) for _ in range(30)]
    photos = [places[k % 30] for k in range(90)]
    seen = [np.clip(features + rng.normal(0, 12, features.shape), 0, 255).astype(np.uint8) for features in photos]
    pairs = set(alike_pairs(90, lambda k: seen[k], seed=0))
    assert all((k, k + 30) in pairs and (k, k + 60) in pairs for k in range(30))
    assert len(pairs) <= 20 * 90


def test_photos_without_features():
    """They are like nothing, and disturb nothing."""
    rng = np.random.default_rng(0)
    seen = [rng.integers(0, 256, (40, 128)).astype(np.uint8), np.empty((0, 128), np.uint8)] * 3
    assert (0, 2) in alike_pairs(6, lambda k: seen[k], seed=0)

"""Pairs of posed photos that can show the same things."""

import numpy as np

from tools.photos.overlap import overlapping_pairs, steps
from tools.photos.triangulation import KnownPhoto


def photo(name: str, place: tuple[float, float, float], degrees: float) -> KnownPhoto:
    """A photo of 60 degrees' width from a place, turned about the vertical."""
    a = np.radians(degrees)
    world_T_cam = np.eye(4)
    world_T_cam[:3, :3] = [[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]
    world_T_cam[:3, 3] = place
    return KnownPhoto(name, (400, 300), (346.0, 346.0, 200.0, 150.0), np.linalg.inv(world_T_cam))


def test_those_that_look_the_same_way():
    """Side by side: yes. Turned by 30 degrees of 60: half is seen by both. By 60 and more: no. Back to back: no."""
    photos = [photo("a", (0, 0, 0), 0), photo("b", (1, 0, 0), 0), photo("c", (0, 1, 0), 30), photo("d", (1, 1, 0), 180)]
    assert overlapping_pairs(photos) == [(0, 1), (0, 2), (1, 2)]


def test_those_that_look_at_one_thing_from_all_sides():
    """Round a thing ten steps away all show it, whichever way they look."""
    photos = [
        photo(str(k), (10 * np.sin(a), 0, -10 * np.cos(a)), -np.degrees(a)) for k, a in enumerate((0, 0.1, 0.2, 3.0))
    ]
    assert {(0, 1), (0, 2), (1, 2)} <= set(overlapping_pairs(photos))


def test_where_nothing_moves_all_are_pairs():
    """Distances are told in steps between the cameras; without any all may overlap."""
    photos = [photo("a", (2, 0, 0), 0), photo("b", (2, 0, 0), 180)]
    assert overlapping_pairs(photos) == [(0, 1)]
    assert overlapping_pairs(photos[:1]) == []
    np.testing.assert_allclose(steps(np.array([[0, 0, 0], [3, 0, 0], [3, 4, 0.0]])), [3, 3, 4])

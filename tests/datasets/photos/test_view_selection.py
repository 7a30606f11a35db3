"""Pair scores and depth ranges, on arrangements whose answer is known."""

import numpy as np
import pytest

from datasets.files import DataError
from datasets.photos.posed import Lens, PosedPhoto, PosedPhotos
from datasets.photos.view_selection import (
    best_sources,
    camera_depth_ranges,
    pair_scores,
    with_stand_in_points,
)

LENS = Lens((80, 60), np.array([[60, 0, 40], [0, 60, 30], [0, 0, 1.0]]))


def looking_at_origin(degrees: float, distance: float = 10.0, name: str = "") -> PosedPhoto:
    """A camera on a circle about the origin, in the plane y = 0."""
    turn = np.radians(degrees)
    cam_T_world = np.eye(4)
    cam_T_world[:3, :3] = [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    cam_T_world[2, 3] = distance
    return PosedPhoto(name or f"{degrees:05.1f}.jpg", LENS, cam_T_world)


def scene_of(photos: list[PosedPhoto], points: np.ndarray, tracks: list[list[int]]) -> PosedPhotos:
    """A scene from each point's photos."""
    return PosedPhotos(photos, points, np.array([(k, photo) for k, track in enumerate(tracks) for photo in track]))


def test_scores_count_shared_points_by_their_angle():
    """One point: 1 at 5 degrees, exp(-2) at 3, exp(-1/2) at 15; nothing where no point is shared."""
    photos = [looking_at_origin(angle) for angle in (0, 5, 3, 15, 8)]
    scores = pair_scores(scene_of(photos, np.zeros((2, 3)), [[0, 1, 2, 3], [4]]))
    np.testing.assert_allclose(scores[0], [0, 1, np.exp(-2), np.exp(-0.5), 0], atol=1e-9)
    np.testing.assert_allclose(scores, scores.T, atol=1e-12)
    twice = pair_scores(scene_of(photos, np.zeros((3, 3)), [[0, 1, 2, 3], [0, 1], [4]]))
    np.testing.assert_allclose(twice[0, :3], [0, 2, np.exp(-2)], atol=1e-9)


def test_the_best_come_first():
    """At most so many, never one without a score."""
    pairs = best_sources(np.array([[0, 2, 3, 1.0], [2, 0, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]]), 2)
    assert pairs == [(0, [(2, 3.0), (1, 2.0)]), (1, [(0, 2.0)]), (2, [(0, 3.0)]), (3, [])]


def test_cameras_tell_where_the_object_is():
    """Half to one and a half times the distance to the point that they look at."""
    photos = [looking_at_origin(angle, distance) for angle, distance in ((0, 10), (30, 12), (70, 8))]
    ranges = camera_depth_ranges(photos, "a test")
    np.testing.assert_allclose(ranges, [(5, 15), (6, 18), (4, 12)], rtol=1e-9)


@pytest.mark.parametrize("origin", [(0, 0, 0), (5e5, 5.4e6, -300), (4.36e6, 5.07e5, -4.61e6)])
def test_cameras_side_by_side_tell_nothing(origin):
    """Parallel axes meet nowhere, wherever the world's origin is: the flags are needed."""
    photos = []
    for k in range(3):
        cam_T_world = np.eye(4)
        cam_T_world[:3, 3] = -np.array(origin) - [k, 0, 0]
        photos.append(PosedPhoto(f"{k}.jpg", LENS, cam_T_world))
    with pytest.raises(DataError, match=r"^a test: 0\.jpg looks elsewhere .* set --depth_min and --depth_max"):
        camera_depth_ranges(photos, "a test")


def test_without_points_neighbours_are_the_best_sources():
    """On a circle every 8 degrees, the nearest are first and the far side is never a source."""
    photos = [looking_at_origin(angle) for angle in range(0, 360, 8)]
    scene = with_stand_in_points(photos, [(7.0, 13.0)] * len(photos), "a test")
    assert [photo.name for photo in scene.photos] == [photo.name for photo in photos]
    for reference, sources in best_sources(pair_scores(scene), 10):
        steps = [min((reference - source) % 45, (source - reference) % 45) for source, _ in sources]
        assert sorted(steps[:2]) == [1, 1] and max(steps) <= 6

"""Depth ranges: of a view's own points and its neighbours', robust, and without an end where the scene has none."""

import numpy as np
import pytest
from test_view_selection import LENS, looking_at_origin, scene_of

from datasets.photos.depth_ranges import INFINITY, depth_range, depth_ranges
from datasets.photos.posed import PosedPhoto


def test_a_depth_range_ignores_strays():
    """One point in two hundred near the lens and one far away do not widen it."""
    depths = np.concatenate([np.linspace(8, 12, 998), [0.001, 1e6]])
    low, high = depth_range(depths)
    assert 7 < low < 8 and 12 < high < 13


@pytest.mark.parametrize("depths", [np.full(30, 5.0), np.linspace(1e-3, 1e3, 500), np.geomspace(1e-6, 1, 100)])
def test_a_depth_range_is_positive_and_has_a_length(depths):
    """Also of points in one plane, and of a scene that begins at the lens."""
    low, high = depth_range(depths)
    assert 0 < low < np.percentile(depths, 1)
    assert high > np.percentile(depths, 99) or high == pytest.approx(INFINITY * low)
    assert high - low >= 0.04 * low


def test_each_view_has_the_range_of_its_points():
    """A view that sees too few takes all those inside its image; None where these are too few as well."""
    rng = np.random.default_rng(0)
    near = rng.uniform(-1, 1, (50, 3))
    far = near + np.array([0, 0, 20])
    photos = [looking_at_origin(0), looking_at_origin(1), looking_at_origin(180, 30)]
    away = PosedPhoto("x.jpg", LENS, np.diag([1.0, -1, -1, 1]))
    away.cam_T_world[2, 3] = -100
    scene = scene_of([*photos, away], np.concatenate([near, far]), [[0]] * 50 + [[2]] * 50)
    ranges = depth_ranges(scene)
    assert 8 < ranges[0][0] < 10 < ranges[0][1] < 12
    assert 4 < ranges[1][0] < 9.5 and 30 < ranges[1][1] < 36
    assert 8 < ranges[2][0] < 10 < ranges[2][1] < 12
    assert ranges[3] is None


def test_neighbours_points_count_where_they_fall_into_the_view():
    """A view that has points on the background alone also sees the object that its neighbours know."""
    rng = np.random.default_rng(0)
    thing, wall = rng.uniform(-1, 1, (60, 3)), rng.uniform(-1, 1, (60, 3)) + np.array([0, 0, 12])
    photos = [looking_at_origin(0), looking_at_origin(4), looking_at_origin(8)]
    scene = scene_of(photos, np.concatenate([thing, wall]), [[1, 2]] * 60 + [[0, 1, 2]] * 60)
    alone, together = depth_ranges(scene, neighbours=False)[0], depth_ranges(scene)[0]
    assert alone[0] > 20 and together[0] < 9.5 and together[1] > 22


def test_what_neighbours_see_behind_a_surface_does_not_count():
    """Points far behind others in the same part of the image are hidden."""
    grid = np.stack(np.meshgrid(np.linspace(-6, 6, 60), np.linspace(-6, 6, 60)), axis=-1).reshape(-1, 2)
    wall = np.concatenate([grid, np.zeros((len(grid), 1))], axis=1)
    behind = wall * 3 + np.array([0, 0, 30])
    photos = [looking_at_origin(0), looking_at_origin(5)]
    tracks = [[0, 1]] * len(wall) + [[1]] * len(behind)
    assert depth_ranges(scene_of(photos, np.concatenate([wall, behind]), tracks))[0][1] < 12


def test_a_few_wrong_points_before_all_others_do_not_count():
    """Three in a hundred at a twentieth of the depth; a surface that comes near bit by bit does."""
    depths = np.concatenate([np.full(3, 0.5), np.linspace(8, 12, 97)])
    assert depth_range(depths)[0] > 7
    assert depth_range(np.linspace(0.5, 12, 100))[0] < 0.65


def test_a_scene_without_end_goes_to_infinity():
    """Which is a hundred times the nearest depth; the near end keeps most of its place."""
    depths = np.concatenate([np.linspace(8, 12, 90), np.geomspace(50, 1e5, 10)])
    low, high = depth_range(depths)
    assert 6 < low < 8 and high == pytest.approx(INFINITY * low)
    low, high = depth_range(np.linspace(8, 70, 100))
    assert high < 85

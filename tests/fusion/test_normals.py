"""Normals of depth maps: known surfaces, depth edges, unknown depth."""

import numpy as np
import pytest
from fusion_scenes import camera, plane_depth

from fusion.normals import depth_normals, slants

SIZE = (24, 32)


@pytest.mark.parametrize("angle", [0.0, 0.4])
@pytest.mark.parametrize("slope", [(0, 0), (0.3, -0.2), (0.8, 1.0)])
def test_a_plane_has_one_normal_towards_the_camera(angle, slope):
    """The same in world coordinates from wherever it is seen, on its far side the opposite."""
    normal = np.array([*slope, -1.0])
    for side in (-1, 1):
        view = camera((30, -20, 600 + side * 600), angle if side < 0 else np.pi - angle)
        normals = depth_normals(plane_depth(view, normal, -600.0), view)
        expected = -side * normal / np.linalg.norm(normal)
        np.testing.assert_allclose(normals, np.broadcast_to(expected, normals.shape), atol=2e-3)
        assert normals.dtype == np.float32


def test_normals_of_a_sphere():
    """They point from its centre; one-sided differences at its border and at the image's are a little off."""
    view, center, radius = camera(), np.array([0, 0, 700.0]), 50.0
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(view.K).T
    a, b, c = (rays**2).sum(-1), rays @ center, center @ center - radius**2
    depth = np.where(b**2 > a * c, (b - np.sqrt(np.maximum(b**2 - a * c, 0))) / a, 900)
    normals = depth_normals(depth.astype(np.float32), view)
    expected = (rays * depth[..., None] - center) / radius
    inner = expected[..., 2] < -0.6
    cosine = (normals * expected).sum(-1)[inner]
    assert inner.sum() > 100 and np.degrees(np.arccos(cosine.min())) < 6
    background = depth == 900
    np.testing.assert_allclose(normals[background], np.tile([0, 0, -1], (background.sum(), 1)), atol=1e-5)


def test_a_depth_edge_does_not_bend_the_normals_beside_it():
    view = camera()
    near, far = (plane_depth(view, (0.3, 0.2, -1.0), -offset) for offset in (500, 800))
    left = np.arange(SIZE[1]) < 16
    normals = depth_normals(np.where(left, near, far), view)
    expected = np.array([0.3, 0.2, -1.0]) / np.linalg.norm([0.3, 0.2, -1.0])
    np.testing.assert_allclose(normals, np.broadcast_to(expected, normals.shape), atol=2e-3)


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf, -np.inf])
def test_unknown_depth_has_no_normal_and_leaves_its_neighbours_theirs(bad):
    view = camera()
    depth = plane_depth(view, (0.3, 0.2, -1.0), -500.0)
    depth[5, 7] = depth[0, 0] = bad
    depth[10, [9, 11]] = bad  # pixel (10, 10) has no neighbour in its row
    normals = depth_normals(depth, view)
    unknown = (normals == 0).all(axis=-1)
    assert sorted(zip(*np.nonzero(unknown), strict=True)) == [(0, 0), (5, 7), (10, 9), (10, 10), (10, 11)]
    expected = np.array([0.3, 0.2, -1.0]) / np.linalg.norm([0.3, 0.2, -1.0])
    np.testing.assert_allclose(normals[~unknown], np.tile(expected, ((~unknown).sum(), 1)), atol=2e-3)


def test_a_lone_outlier_has_no_normal_and_leaves_its_neighbours_theirs():
    view = camera()
    depth = plane_depth(view, (0.3, 0.2, -1.0), -500.0)
    depth[5, 7] += 200
    depth[0, 10] += 200  # its neighbour below is all that the column has for the pixels beside the border
    normals = depth_normals(depth, view)
    assert sorted(zip(*np.nonzero((normals == 0).all(axis=-1)), strict=True)) == [(0, 10), (5, 7)]


def test_noise_tilts_both_sides_together():
    """Where both sides continue the surface both are used: noise of a thousandth averages out over the map."""
    view = camera(focal=32.0)
    noise = 1 + 3e-4 * np.random.default_rng(1).normal(size=SIZE)
    normals = depth_normals((plane_depth(view, (0.3, 0.2, -1.0), -500.0) * noise).astype(np.float32), view)
    mean = normals.reshape(-1, 3).mean(axis=0)
    expected = np.array([0.3, 0.2, -1.0]) / np.linalg.norm([0.3, 0.2, -1.0])
    assert mean / np.linalg.norm(mean) @ expected > np.cos(np.radians(0.5))


def test_units_do_not_matter():
    """A scene in metres has the normals of the same scene in millimetres."""
    view = camera((3, 4, 5), 0.2)
    depth = plane_depth(view, (0.3, 0.2, -1.0), -500.0) * (1 + 0.01 * np.random.default_rng(1).random(SIZE))
    np.testing.assert_allclose(depth_normals(depth / 1000, view), depth_normals(depth, view), atol=1e-5)


def test_slants_are_the_angle_at_which_a_plane_is_seen():
    """Its cosine along each pixel's line of sight; 1 where there is no depth."""
    view, normal = camera((30, -20, 0), 0.4), np.array([0.5, -2.0, -1.0])
    depth = plane_depth(view, normal, -600.0)
    points = view.lift(depth, depth > 0).reshape(*depth.shape, 3) - view.centre
    expected = np.abs(points @ normal) / np.linalg.norm(points, axis=-1) / np.linalg.norm(normal)
    np.testing.assert_allclose(slants(depth, view), expected, atol=2e-3)
    assert (slants(np.zeros_like(depth), view) == 1).all()

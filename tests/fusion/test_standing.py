"""Upright on zero: known rooms, cameras held as people hold them, in a world that is turned anyhow."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from datasets.camera import Camera
from datasets.units import Units, similarity, transformed
from fusion.standing import ground_plane, standing, up_of_cameras

ANYHOW = Rotation.from_euler("xyz", [0.7, -1.1, 2.0]).as_matrix()


def look(centre, target, roll: float = 0.0) -> Camera:
    """A camera at a place with z up that looks at another, turned about its axis by `roll` degrees."""
    forward = np.subtract(target, centre) / np.linalg.norm(np.subtract(target, centre))
    right = np.cross(forward, [0, 0, 1])
    right = right / np.linalg.norm(right) if np.linalg.norm(right) > 1e-6 else np.array([1.0, 0, 0])
    axes = np.stack([right, np.cross(forward, right), forward])
    axes = Rotation.from_euler("z", roll, degrees=True).as_matrix() @ axes
    cam_T_world = np.eye(4)
    cam_T_world[:3, :3], cam_T_world[:3, 3] = axes, -axes @ centre
    return Camera(np.diag([500.0, 500, 1]), cam_T_world)


def ring(height: float, rolls=0.0, count: int = 12) -> list[Camera]:
    """Around the origin, looking at it from above."""
    angles = np.linspace(0, 2 * math.pi, count, endpoint=False)
    return [
        look((4 * np.cos(a), 4 * np.sin(a), height), (0, 0, 0), r)
        for a, r in zip(angles, np.broadcast_to(rolls, count), strict=True)
    ]


def turned(cameras: list[Camera], R: np.ndarray = ANYHOW) -> list[Camera]:
    """The cameras of the same scene in a world that is turned."""
    return [Camera(c.K, c.cam_T_world @ similarity(R=R.T)) for c in cameras]


def degrees_between(a, b) -> float:
    return math.degrees(math.acos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


@pytest.mark.parametrize("height", [0.0, 2.0, 8.0])
def test_up_of_a_walk_around(height):
    """However steeply the cameras look down."""
    assert degrees_between(up_of_cameras(turned(ring(height))), ANYHOW[:, 2]) < 0.1


def test_hands_that_shake_and_photos_that_are_turned():
    """Rolls of a few degrees average out; two photos that lie on their sides count little."""
    rolls = np.random.default_rng(0).normal(size=24) * 2
    rolls[[3, 10]] = 90
    assert degrees_between(up_of_cameras(turned(ring(1.0, rolls, 24))), ANYHOW[:, 2]) < 1.5


def test_photos_that_look_one_way():
    """A facade from a street: the images' rows all point along it, their up direction decides."""
    cameras = [look((x, -5, 1.6), (x, 0, 1.6)) for x in range(6)]
    assert degrees_between(up_of_cameras(turned(cameras)), ANYHOW[:, 2]) < 0.1


def test_cameras_that_look_straight_down():
    """In flight lines there and back, and across: what is above is where they do not look."""
    cameras = [
        look((x, y, 50), (x, y + 1e-9, 0), roll) for x, y, roll in [(0, 0, 0), (9, 0, 180), (0, 9, 90), (9, 9, -90)]
    ]
    assert degrees_between(up_of_cameras(turned(cameras)), ANYHOW[:, 2]) < 0.1


def room(tilt: float = 0.0, count: int = 4000) -> np.ndarray:
    """A floor of 10 x 10 at z = -1 turned about x by `tilt` degrees, with a box of side 2 on it and a wall."""
    rng = np.random.default_rng(1)
    floor = np.column_stack([rng.uniform(-5, 5, (count, 2)), np.full(count, -1.0)])
    box = np.column_stack([rng.uniform(-1, 1, (count // 8, 2)), np.full(count // 8, 1.0)])
    wall = np.column_stack([rng.uniform(-5, 5, count // 4), np.full(count // 4, 5.0), rng.uniform(-1, 2, count // 4)])
    points = np.concatenate([floor, box, wall])
    return points @ Rotation.from_euler("x", tilt, degrees=True).as_matrix().T


def test_the_ground_is_found():
    """Its normal to a tenth of a degree, though hands were four degrees off; no wall and no table is taken for it."""
    points = room(4.0) + np.random.default_rng(2).normal(size=(5500, 3)) * 0.01
    normal, height = ground_plane(points, np.array([0.0, 0, 1]), math.radians(10))
    expected = Rotation.from_euler("x", 4, degrees=True).as_matrix()[:, 2]
    assert degrees_between(normal, expected) < 0.1 and abs(height + 1) < 0.01
    assert ground_plane(room(25.0), np.array([0.0, 0, 1]), math.radians(10)) is None


def test_a_facade_has_no_ground():
    """A wall alone, whatever is hung on it."""
    rng = np.random.default_rng(0)
    wall = np.column_stack([rng.uniform(-5, 5, 3000), rng.normal(size=3000) * 0.02, rng.uniform(0, 6, 3000)])
    assert ground_plane(wall, np.array([0.0, 0, 1]), math.radians(10)) is None


def test_a_scan_stands():
    """Turned anyhow, of any size and elsewhere: the floor is z = 0, the box stands on it, lengths keep their ratio."""
    scan_T_room = similarity(0.3, ANYHOW, np.array([5.0, -7, 2]))
    points, _ = transformed(scan_T_room, room())
    cameras = [Camera(c.K, similarity(0.3) @ c.cam_T_world @ np.linalg.inv(scan_T_room)) for c in ring(2.0)]
    stood = standing(Units(), cameras, points)
    placed, _ = transformed(stood.world_T_scan, points)
    assert stood.up == (0, 0, 1) and stood.units == "units" and abs(stood.scale - 1) < 1e-9
    assert np.abs(placed[:4000, 2]).max() < 2e-3
    np.testing.assert_allclose(placed[4000:4500, 2], 0.6, atol=3e-3)
    assert np.abs(np.median(placed[:, :2], axis=0)).max() < 1e-6


def test_a_scale_that_is_known_is_kept():
    """Metres of a marker: the same scan, three times as large."""
    stood = standing(Units("metres", "marker", world_T_scan=similarity(3.0)), ring(2.0), room())
    placed, _ = transformed(stood.world_T_scan, room())
    assert abs(stood.scale - 3) < 1e-9 and stood.units == "metres"
    np.testing.assert_allclose(np.ptp(placed[:4000, 0]), 3 * np.ptp(room()[:4000, 0]), rtol=2e-3)


def test_a_place_on_the_earth_keeps_its_axes():
    """East stays x: only the height becomes that above the ground."""
    T = similarity(2.0, Rotation.from_euler("z", 30, degrees=True).as_matrix(), np.array([3.0, 4, 5]))
    stood = standing(Units("metres", "GPS", world_T_scan=T, place=(48.0, 11.0, 500.0)), ring(2.0), room())
    np.testing.assert_allclose(stood.world_T_scan[:2], T[:2])
    np.testing.assert_allclose(transformed(stood.world_T_scan, room())[0][:4000, 2], 0, atol=0.02)


def test_without_cameras_nothing_is_up():
    """The cloud stays as it is turned, around the origin."""
    stood = standing(Units(), [], room())
    assert stood.up is None
    np.testing.assert_allclose(stood.world_T_scan[:3, :3], np.eye(3))

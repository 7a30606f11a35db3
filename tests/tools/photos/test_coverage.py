"""What is said before the work: which photos stand apart, whether the camera moved, whether the set is thin."""

import math

import numpy as np

from datasets.photos.posed import Lens, PosedPhoto, PosedPhotos, posed_photos
from tools.photos.coverage import measure_coverage

LENS = Lens((640, 480), np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]))


def photo(number: int, degrees: float, radius: float = 4.0) -> PosedPhoto:
    """A photo of the origin, from so many degrees round it."""
    angle = math.radians(degrees)
    forward = np.array([-math.sin(angle), 0, -math.cos(angle)])
    rotation = np.stack([np.cross([0, 1, 0], forward), [0, 1, 0], forward])
    cam_T_world = np.eye(4)
    cam_T_world[:3, :3] = rotation
    cam_T_world[:3, 3] = -rotation @ (-radius * forward)
    return PosedPhoto(f"{number:02d}.jpg", LENS, cam_T_world)


def ball(photos: list[PosedPhoto], count: int = 3000) -> PosedPhotos:
    """Photos of a ball of radius 1, of whose points each sees those on its side."""
    points = np.random.default_rng(0).normal(size=(count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    tracks = []
    for k, each in enumerate(photos):
        seen = np.flatnonzero((points * (each.centre - points)).sum(axis=1) > 0)
        tracks.append(np.stack([seen, np.full(len(seen), k)], axis=1))
    return posed_photos(photos, points, np.concatenate(tracks), "test")


def test_a_dense_set():
    """Eight degrees apart, a few more as the surface sees them: no gap, and every photo has partners enough."""
    coverage = measure_coverage(ball([photo(k, 8 * k) for k in range(12)]))
    assert coverage.gaps() == [] and coverage.advice() == []
    assert not coverage.is_thin and not coverage.only_turned
    assert len(coverage.steps) == 11 and all(8 < step.angle < 12 for step in coverage.steps)


def test_a_gap_is_named():
    """Where it is, and how many photos belong there; each gap once."""
    places = [0, 8, 16, 24, 64, 72, 180]
    coverage = measure_coverage(ball([photo(k, degrees) for k, degrees in enumerate(places)]))
    far, gap = coverage.advice()
    assert far.startswith("06.jpg shares ") and far.endswith("photos between it and 05.jpg")
    assert "03.jpg" in gap and "04.jpg" in gap and gap.endswith("with no photo between: take 4 photos there")


def test_a_thin_set():
    """A third of the photos: no depth can be asked of two others."""
    dense = measure_coverage(ball([photo(k, 12 * k) for k in range(12)]))
    thin = measure_coverage(ball([photo(k, 36 * k) for k in range(4)]))
    assert thin.is_thin and not dense.is_thin
    assert len(thin.gaps()) == 3


def test_a_camera_that_only_turned():
    """On the spot, but for a trembling hand: nothing tells depth."""
    turned = []
    for k in range(6):
        each = photo(k, 0)
        angle = math.radians(4 * k - 10)
        turn = np.array([[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]])
        pose = each.cam_T_world.copy()
        pose[:3] = turn @ pose[:3]
        pose[0, 3] += 0.005 * k
        turned.append(PosedPhoto(each.name, LENS, pose))
    assert measure_coverage(ball(turned)).only_turned


def test_without_points():
    """Nothing can be told."""
    photos = [photo(k, 8 * k) for k in range(3)]
    assert measure_coverage(posed_photos(photos, np.empty((0, 3)), np.empty((0, 2), np.int64), "test")) is None


def test_one_point_alone():
    """Photos that share nothing are joined by nothing."""
    photos = [photo(k, 8 * k) for k in range(3)]
    scene = posed_photos(photos, np.zeros((1, 3)), np.array([[0, 1]]), "test")
    coverage = measure_coverage(scene)
    assert coverage.steps == [] and coverage.advice() == [] and coverage.is_thin

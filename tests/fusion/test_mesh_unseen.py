"""Faces that no view sees from the front go; those that one sees stay."""

import numpy as np
import pytest
from mesh_scenes import RADIUS, around, ball_scan, beside, kept, nothing

from fusion.mesh.surfaces import Surface, face_normals, joined
from fusion.mesh.unseen import without_unseen


def sphere(radius: float, steps: int = 24) -> Surface:
    """A ball's surface of faces that look outwards."""
    polar, around_it = np.meshgrid(
        np.linspace(0, np.pi, steps + 1), np.linspace(0, 2 * np.pi, 2 * steps + 1), indexing="ij"
    )
    axes = [np.sin(polar) * np.cos(around_it), np.sin(polar) * np.sin(around_it), np.cos(polar)]
    numbers = np.arange(polar.size).reshape(polar.shape)
    a, b, c, d = numbers[:-1, :-1], numbers[1:, :-1], numbers[1:, 1:], numbers[:-1, 1:]
    upper, lower = np.stack([a, b, c], axis=-1)[:-1], np.stack([a, c, d], axis=-1)[1:]  # no flat ones at the poles
    faces = np.concatenate([upper.reshape(-1, 3), lower.reshape(-1, 3)])
    return Surface(radius * np.stack(axes, axis=-1).reshape(-1, 3), faces.astype(np.int32))


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    """Seen from all around."""
    return kept(ball_scan(tmp_path_factory.mktemp("ball") / "scan", around()))


def test_what_lies_within_goes(ball):
    """A sheet behind the first, whichever way its faces look; the outer one stays whole."""
    outer, inner = sphere(RADIUS), sphere(0.7 * RADIUS)
    turned = Surface(inner.vertices * 0.9, inner.faces[:, ::-1].copy())
    left = without_unseen(joined([outer, inner, turned]), ball, nothing)
    assert len(left.faces) == len(outer.faces)
    np.testing.assert_allclose(np.linalg.norm(left.vertices, axis=1), RADIUS)


def test_only_fronts_stay(ball):
    """Of a ball that is inside out nothing does, but at its outlines, where both sides are within a pixel."""
    outer = sphere(RADIUS)
    left = without_unseen(Surface(outer.vertices, outer.faces[:, ::-1].copy()), ball, nothing)
    assert len(left.faces) < 0.05 * len(outer.faces)


def test_the_far_side_and_its_rim_go(tmp_path):
    """What all cameras look at from behind, or along it; done after every view."""
    cameras, outer, calls = beside(), sphere(RADIUS), []
    left = without_unseen(outer, kept(ball_scan(tmp_path / "scan", cameras)), lambda: calls.append(1))
    assert len(calls) == len(cameras)

    def facing(surface: Surface) -> np.ndarray:
        """The best cosine that a camera has for each face."""
        middles, normals = surface.vertices[surface.faces].mean(axis=1), face_normals(surface)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        rays = [camera.centre - middles for camera in cameras]
        return np.max([(normals * ray).sum(axis=1) / np.linalg.norm(ray, axis=1) for ray in rays], axis=0)

    assert 0.1 <= facing(left).min() < 0.15
    assert len(left.faces) == (facing(outer) >= 0.1).sum()


def test_nothing_at_all(ball):
    """Stays nothing."""
    assert len(without_unseen(Surface.empty(), ball, nothing).faces) == 0

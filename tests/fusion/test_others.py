"""Which other views a view is compared with when they are fused."""

import numpy as np
import pytest
from fusion_scenes import camera, plane_depth

from fusion.others import other_views

SIZE = (24, 32)
SEEN_FROM = 600.0


def walk(degrees: list[float]) -> list:
    """Cameras around a point at a distance, which look at it."""
    angles = np.radians(degrees)
    return [camera((SEEN_FROM * np.sin(a), 0, SEEN_FROM * (1 - np.cos(a))), -a) for a in angles]


def plane(cameras: list) -> list[np.ndarray]:
    return [plane_depth(view, (0, 0, 1.0), SEEN_FROM) for view in cameras]


def names(chosen: list[np.ndarray]) -> list[list[int]]:
    return [others.tolist() for others in chosen]


@pytest.mark.parametrize("most", [0, 4, 5, 100])
def test_without_a_limit_all_others(most):
    """And with one that the views do not reach; in the order of the views, so that sums come out the same."""
    cameras = walk([0, 2, 4, 6, 8])
    expected = [[other for other in range(5) if other != view] for view in range(5)]
    assert names(other_views(plane(cameras), cameras, most)) == expected


def test_a_good_angle_comes_first():
    """Five degrees are best, as for the sources of depth; nearer and farther ones come later."""
    cameras = walk([0, 0.5, 5, 6, 30, -5])
    chosen = other_views(plane(cameras), cameras, 3)
    assert chosen[0].tolist() == [2, 3, 5] and all(len(others) == 3 for others in chosen)
    assert all(view not in others for view, others in enumerate(chosen))


def test_what_sees_something_else_comes_last():
    """A view whose depth there is another, or unknown, and one that looks elsewhere."""
    cameras = [*walk([0, 5, 4, 6, 20]), camera((0, 0, 0), np.pi)]
    depths = [*plane(cameras[:5]), np.full(SIZE, SEEN_FROM, np.float32)]
    depths[1] = depths[1] / 2  # something stands before it
    depths[2] = np.full(SIZE, np.nan, np.float32)
    assert names(other_views(depths, cameras, 2))[0] == [3, 4]


def test_nothing_known():
    """Views without depth have no best others, but still the first of them."""
    cameras = walk([0, 3, 6, 9])
    assert names(other_views([np.zeros(SIZE, np.float32)] * 4, cameras, 2)) == [[1, 2], [0, 2], [0, 1], [0, 1]]


def test_sizes_may_differ():
    """Each view has its own."""
    sizes = [(24, 32), (40, 24), (18, 24), (24, 32)]
    cameras = [
        camera((SEEN_FROM * np.sin(a), 0, 0), -a, size=size) for a, size in zip((0, 0.05, 0.1, 0.9), sizes, strict=True)
    ]
    depths = [plane_depth(view, (0, 0, 1.0), SEEN_FROM, size) for view, size in zip(cameras, sizes, strict=True)]
    assert names(other_views(depths, cameras, 2))[0] == [1, 2]

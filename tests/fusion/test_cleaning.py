"""What goes out of fused points by what the views show: rims, flat angles, what is looked through, far things."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from fusion_scenes import camera, plane_depth

from fusion.cleaning import cleaned_points, needed_columns
from fusion.clouds import Points, ViewPoints
from fusion.normals import depth_normals
from fusion.options import Cleaning, CloudOptions
from fusion.rims import beyond_edges
from fusion.see_through import AgreedDepth

OFF = Cleaning(rim=0, grazing=0, through=0, views=0, region=0, isolation=0, island=0)
SIZE = (24, 32)


def view_points(depth, view, image=None, views=3) -> ViewPoints:
    """All pixels with a depth as points."""
    pix = np.flatnonzero(depth > 0)
    image = np.full((*depth.shape, 3), 100, np.uint8) if image is None else image
    points = Points(
        view.lift(depth, depth > 0).astype(np.float32),
        image.reshape(-1, 3)[pix],
        depth_normals(depth, view).reshape(-1, 3)[pix],
        np.full(len(pix), views, np.uint8) if np.isscalar(views) else views.ravel()[pix],
        np.full(len(pix), 0.5, np.float32),
    )
    return ViewPoints(points, pix, depth, image, view)


def clean(folder, scene, **rules):
    """The points of each view that stay, and what each rule took."""
    removed = Counter()
    options = CloudOptions(normals=True, agreement=True, cleaning=dataclasses.replace(OFF, **rules))
    return list(cleaned_points(scene, options, folder, removed)), removed


# ---------------------------------------------------------------- rims


def roof(height: int = 96, width: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """A photo of a textured house below a bright sky, and where it stands (bool): rows from 40 on."""
    rng = np.random.default_rng(0)
    image = np.full((height, width, 3), (170, 200, 235), np.uint8)
    image[40:] = rng.integers(20, 130, (height - 40, width, 3))
    house = np.zeros((height, width), bool)
    house[40:] = True
    return image, house


def test_depth_that_reaches_into_the_sky_goes():
    """Six rows of it: all, and of the house at most three rows whose colours may be mixed."""
    image, house = roof()
    kept = house.copy()
    kept[34:40] = True
    gone = beyond_edges(kept, image, reach=10)
    assert gone[34:40].all() and not gone[43:].any() and not gone[:34].any()


def test_no_deeper_than_said():
    """Twenty rows of sky with depth, of which the outer five are taken, and three that may be mixed."""
    image, house = roof()
    kept = house.copy()
    kept[20:40] = True
    gone = beyond_edges(kept, image, reach=5)
    assert gone[20:25].all() and not gone[28:].any()


def test_an_edge_that_is_one_stays():
    """Depth that ends where the house does loses nothing but three rows; with nothing around it, nothing at all."""
    image, house = roof()
    assert not beyond_edges(house, image, reach=10)[43:].any()
    assert not beyond_edges(np.ones_like(house), image, reach=10).any()


def test_holes_inside_are_no_sky():
    """A hole in a smooth wall, which does not reach the photo's border, takes nothing of the wall."""
    image, _ = roof()
    kept = np.ones((96, 128), bool)
    kept[5:30, 20:90] = False
    assert not beyond_edges(kept, image, reach=10).any()


# ---------------------------------------------------------------- flat angles, few views, far things


def test_points_without_a_surface_go(tmp_path):
    """A depth map of a plane with one pixel that is far off: the plane stays but for what the pixel hides."""
    depth = plane_depth(camera(), (0, 0, 1), 500.0)
    depth[10, 10] = 300
    (points,), removed = clean(tmp_path, [view_points(depth, camera())], grazing=8)
    assert len(points) == depth.size - 1 and removed["grazing"] == 1
    assert (points.xyz[:, 2] > 400).all()


def test_flat_angles_go(tmp_path):
    """A plane that is seen at 15 to 25 degrees stays by a bound of 14, and goes by one of 26."""
    turned = np.radians(20)
    depth = plane_depth(camera(), (0, np.cos(turned), np.sin(turned)), 200.0)
    kept, _ = clean(tmp_path, [view_points(depth, camera())], grazing=14)
    none, _ = clean(tmp_path, [view_points(depth, camera())], grazing=26)
    assert len(kept[0]) == depth.size and len(none[0]) == 0


def test_few_views_go(tmp_path):
    depth = plane_depth(camera(), (0, 0, 1), 500.0)
    views = np.where(np.arange(depth.size).reshape(depth.shape) % 3 == 0, 2, 4)
    (points,), removed = clean(tmp_path, [view_points(depth, camera(), views=views)], views=3)
    assert (points.views == 4).all() and removed["views"] == (views == 2).sum()


def test_what_is_far_from_all_cameras_goes(tmp_path):
    """Beyond five times the median distance."""
    depth = plane_depth(camera(), (0, 0, 1), 500.0)
    depth[:4] = 3000
    (points,), removed = clean(tmp_path, [view_points(depth, camera())], region=5)
    assert removed["region"] == 4 * 32 and (points.xyz[:, 2] < 600).all()


# ---------------------------------------------------------------- looked through


def test_what_other_views_look_through_goes(tmp_path):
    """A patch that floats before a wall in one view's depth, where two others see the wall."""
    cameras = [camera((x, 0, 0)) for x in (-20, 0, 20)]
    depths = [plane_depth(view, (0, 0, 1), 600.0) for view in cameras]
    depths[1][8:16, 10:20] = 400
    views = [view_points(depth, view, views=2) for depth, view in zip(depths, cameras, strict=True)]
    parts, removed = clean(tmp_path, views, through=0.5)
    assert [len(part) for part in parts] == [24 * 32, 24 * 32 - 80, 24 * 32] and removed["through"] == 80


def test_more_views_agree_than_look_through(tmp_path):
    """Then the point stays: with eight views that agree, two do not outvote them."""
    cameras = [camera((x, 0, 0)) for x in (-20, 0, 20)]
    depths = [plane_depth(view, (0, 0, 1), 600.0) for view in cameras]
    depths[1][8:16, 10:20] = 400
    views = [view_points(depth, view, views=8) for depth, view in zip(depths, cameras, strict=True)]
    assert sum(map(len, clean(tmp_path, views, through=0.5)[0])) == 3 * 24 * 32


def test_views_that_it_was_not_compared_with_do_not_count(tmp_path):
    """They could not agree, so they must not look through either."""
    cameras = [camera((x, 0, 0)) for x in (-20, 0, 20)]
    depths = [plane_depth(view, (0, 0, 1), 600.0) for view in cameras]
    depths[1][8:16, 10:20] = 400
    views = [view_points(depth, view, views=2) for depth, view in zip(depths, cameras, strict=True)]
    views = [view._replace(others=np.array(others)) for view, others in zip(views, ([1], [0], [1]), strict=True)]
    assert sum(map(len, clean(tmp_path, views, through=0.5)[0])) == 3 * 24 * 32


def test_depth_that_is_not_agreed_on_looks_through_nothing(tmp_path):
    """Where a view has no point its depth is no evidence; nor is noise of a hundredth of the depth."""
    near, far = plane_depth(camera(), (0, 0, 1), 600.0), plane_depth(camera(), (0, 0, 1), 605.0)
    points = camera().lift(near, near > 0)
    everywhere = np.ones(near.shape, bool)
    with AgreedDepth(tmp_path) as agreed:
        agreed.append(near, everywhere, camera())
        agreed.append(far, everywhere, camera((40, 0, 0)))
        agreed.append(plane_depth(camera((80, 0, 0)), (0, 0, 1), 900.0), ~everywhere, camera((80, 0, 0)))
        assert not agreed.counts(points, 0).any()


# ---------------------------------------------------------------- all together


def test_nothing_happens_without_cleaning(tmp_path):
    """Views pass as they are, and columns that are not asked for are not made."""
    view = view_points(plane_depth(camera(), (0, 0, 1), 500.0), camera())
    (points,) = cleaned_points([view], CloudOptions(), tmp_path)
    np.testing.assert_array_equal(points.xyz, view.points.xyz)
    assert points.normals is None and points.views is None
    assert needed_columns(CloudOptions()) == CloudOptions()
    assert needed_columns(CloudOptions(cleaning=Cleaning())).normals


@pytest.mark.parametrize("count", [0, 1])
def test_no_views_and_empty_views(tmp_path, count):
    view = view_points(np.zeros(SIZE, np.float32), camera())
    rules = {"rim": 0.02, "grazing": 8, "through": 0.5, "region": 6}
    parts, removed = clean(tmp_path, [view] * count, **rules)
    assert [len(part) for part in parts] == [0] * count and removed.total() == 0

"""Cross-view check: known geometry, ties, invalid depths, and the official labels."""

import numpy as np
import pytest
from fusion_scenes import GOLDEN, camera, plane_depth

from datasets.io import read_pairs
from datasets.predictions import DepthView, Predictions
from fusion.consistency import Check, check_view, dynamic_check, normal_check

SIZE = (24, 32)


def constant(depth: float, view_camera=None, size=SIZE) -> DepthView:
    """A depth map parallel to the image."""
    return DepthView(np.full(size, depth, np.float32), view_camera or camera())


def test_two_cameras_that_see_one_plane_agree_wherever_both_see_it():
    normal, offset = (0.2, 0.1, 1.0), 600.0
    left, right = camera((-20, 0, 0), 0.03), camera((25, 3, 0))
    views = [DepthView(plane_depth(view, normal, offset), view) for view in (left, right)]

    agreement = check_view(views[0], views[1:], normal_check(thres_view=1))

    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    depth = views[0].depth.astype(float)
    pixels = np.stack([x * depth, y * depth, depth, np.ones_like(depth)], axis=-1)
    u, v, z, _ = np.moveaxis(pixels @ (right.projection() @ np.linalg.inv(left.projection())).T, -1, 0)
    inside = (u / z >= 0) & (u / z <= SIZE[1] - 1) & (v / z >= 0) & (v / z <= SIZE[0] - 1)
    outside = (u / z <= -1) | (u / z >= SIZE[1]) | (v / z <= -1) | (v / z >= SIZE[0])
    assert inside.any() and outside.any()
    assert agreement.passed[inside].all() and not agreement.passed[outside].any()
    assert np.abs(agreement.mean - depth)[inside].max() < 0.02  # depth is not linear between pixels
    assert agreement.sigma[inside].max() < 0.02


def test_mean_and_sigma_include_the_reference():
    agreement = check_view(constant(1000), [constant(1004), constant(998), constant(1100)], normal_check(thres_view=2))
    assert agreement.passed.all()
    depths = np.array([1000, 1004, 998])  # 1100 is too far off
    np.testing.assert_allclose(agreement.mean, depths.mean(), atol=1e-3)
    np.testing.assert_allclose(agreement.sigma, depths.std(), atol=1e-3)


def test_depth_threshold_is_strict():
    sources = [constant(1088)]  # 1/16 more
    assert not check_view(constant(1024), sources, normal_check(1, 1 / 16, 1)).passed.any()
    assert check_view(constant(1024), sources, normal_check(1, 1 / 16 + 1e-9, 1)).passed.all()


def test_reprojection_threshold_is_strict():
    # Disparity 1024 / depth: 1 pixel at 1024 and 0.5 pixels at 2048, so the point comes back half a pixel away.
    source = constant(2048, camera((8, 0, 0)))
    inner = np.s_[:, 2:]
    assert not check_view(constant(1024), [source], normal_check(0.5, 2, 1)).passed.any()
    assert check_view(constant(1024), [source], normal_check(0.5 + 1e-9, 2, 1)).passed[inner].all()


@pytest.mark.parametrize("bad", [0, -200, np.nan, np.inf, -np.inf])
def test_invalid_depth_is_never_consistent(bad):
    everything = normal_check(np.inf, np.inf, 1)
    assert not check_view(constant(bad), [constant(1000)], everything).passed.any()
    # With the source ahead of the reference, even what lies at or shortly behind the source is ahead of the reference.
    assert not check_view(constant(1000), [constant(bad, camera((0, 0, 300)))], everything).passed.any()


def test_one_invalid_pixel_leaves_the_others_alone():
    reference, source = constant(1000), constant(1000)
    reference.depth[3, 4] = np.nan
    source.depth[10, 20] = np.nan
    agreement = check_view(reference, [source], normal_check(thres_view=1))
    assert not agreement.passed[3, 4] and not agreement.passed[10, 20]
    # A sample may also touch the pixel's neighbours, with weight 0 here: NaN spreads to them.
    assert agreement.passed.sum() >= agreement.passed.size - 5


def test_a_point_behind_the_source_is_not_consistent():
    behind = constant(1000, camera((0, 0, 3000)))
    assert not check_view(constant(1000), [behind], normal_check(np.inf, np.inf, 1)).passed.any()


def test_sources_may_have_another_size():
    small = (12, 16)
    source = constant(1000, camera().scaled(0.5, 0.5), small)
    agreement = check_view(constant(1000), [source], normal_check(thres_view=1))
    assert agreement.passed[:23, :31].all()  # the last row and column fall outside the small image
    np.testing.assert_allclose(agreement.mean[:23, :31], 1000, atol=1e-3)


@pytest.mark.parametrize(
    ("level_of_source", "passes"),
    [((2,), False), ((2, 2), True), ((3, 3), False), ((3, 3, 3), True), ((2, 3, 3), True), ((2, 11), False)],
)
def test_dynamic_check_wants_i_sources_at_level_i(level_of_source, passes):
    # A source made to agree at level i and looser: its relative difference is just below i / 1300.
    sources = [constant(1000 * (1 + (level - 0.5) / 1300)) for level in level_of_source]
    assert (check_view(constant(1000), sources, dynamic_check()).passed == passes).all()


def test_dynamic_check_averages_what_agrees_at_the_loosest_level():
    sources = [constant(1000), constant(1000), constant(1007), constant(1008)]  # 10/1300 is 7.69
    agreement = check_view(constant(1000), sources, dynamic_check())
    np.testing.assert_allclose(agreement.mean, np.mean([1000, 1000, 1000, 1007]), atol=1e-3)
    np.testing.assert_allclose(agreement.sigma, np.std([1000, 1000, 1000, 1007]), atol=1e-3)


def test_levels_must_go_from_strict_to_loose():
    with pytest.raises(ValueError, match="do not decrease"):
        Check((1.0, 0.5), (0.1, 0.2), (1, 2))


@pytest.mark.parametrize("view", [0, 2])
def test_official_labels(view):
    predictions = Predictions(GOLDEN / "labels" / "est" / "scan1")
    sources = dict(read_pairs(GOLDEN / "labels" / "data" / "Cameras" / "pair.txt"))[view]
    expected = np.load(GOLDEN / "labels" / f"expected_{view:08d}.npz")

    agreement = check_view(predictions.view(view), map(predictions.view, sources), normal_check(1, 0.005, 3))

    assert (agreement.passed == expected["geo"]).all()
    kept = expected["final"]
    assert (np.abs(agreement.mean - expected["mu"])[kept] < 1e-3).mean() > 0.999
    assert (np.abs(agreement.sigma - expected["sigma"])[kept] < 1e-3).mean() > 0.999

"""The depth that a mesh is made of: what a looser check adds, rims and bridges that go, noise that is averaged."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from fusion_scenes import camera as plain_camera
from fusion_scenes import plane_depth
from mesh_scenes import around, ball_depth, ball_scan, beside, nothing

from datasets.formats.images import write_image
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.io import write_pairs
from datasets.predictions import Predictions
from fusion.builtin import fuse_views, read_views
from fusion.consistency import normal_check
from fusion.mesh.bridges import bridges, without_bridges
from fusion.mesh.maps import KeptMaps, KeptView, grown, kept_by_check, kept_by_fusibile, without_rims
from fusion.mesh.smoothing import smoothed, smoothed_views


def test_a_looser_check_fills_what_the_clouds_own_leaves(tmp_path):
    """What the cloud is made of is sure, pixel by pixel, at its points' depth; the rest counts little."""
    scan = ball_scan(tmp_path / "scan", beside())
    depth = scan / "depth_est" / "00000002.pfm"
    noise = np.random.default_rng(0).normal(size=ball_depth(beside()[0]).shape)
    write_pfm(depth, (read_pfm(depth) * (1 + 1e-3 * noise)).astype(np.float32))
    maps = Predictions(scan)
    fused = list(fuse_views(*read_views(maps, range(5), 0.0), 0.1, 2))
    own, filled = (list(kept_by_fusibile(maps, range(5), 0.0, 0.1, 2, fill)) for fill in (False, True))
    for points, view, more in zip(fused, own, filled, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(view.depth), points.pix)
        np.testing.assert_array_equal(np.flatnonzero(more.sure), points.pix)
        np.testing.assert_array_equal(more.depth[more.sure], view.depth[view.sure])
    assert (filled[2].depth > 0).sum() > 1.1 * filled[2].sure.sum()
    kept_maps = KeptMaps(iter(filled), maps, tmp_path, nothing)
    assert kept_maps.weights(2)[filled[2].sure].min() == 1 and kept_maps.weights(2).min() < 0.1
    checked = [
        list(kept_by_check(maps, pair_file(tmp_path), 0.0, normal_check(0.2, 1e-3, 2), f)) for f in (False, True)
    ]
    for view, more in zip(*checked, strict=True):
        np.testing.assert_array_equal(view.depth > 0, more.sure)
    assert (checked[1][2].depth > 0).sum() > checked[1][2].sure.sum() > 0


def test_a_rim_of_sky_goes_from_the_mesh(tmp_path):
    """Depth that a network carried beyond the ball's edge, into an even background, is left out, sure or not; with a
    rim of 0 it stays."""
    scan = ball_scan(tmp_path, beside())
    maps, camera = Predictions(scan), beside()[0]
    ball = ball_depth(camera) > 0
    image = np.where(ball[..., None], maps.image(0), np.uint8(240))
    write_image(scan / "images" / "00000000.jpg", image, quality=100)
    wide = cv2.dilate(ball.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    depth = np.where(ball, ball_depth(camera), np.where(wide, np.float32(4), np.float32(0)))
    view = KeptView(depth, wide, camera, 0, 1.0)
    (left,) = without_rims(iter([view]), maps, 0.08)
    beyond = wide & ~ball
    assert (left.depth[beyond] > 0).mean() < 0.1 and left.sure[beyond].mean() < 0.1
    assert (left.depth[ball] > 0).mean() > 0.9
    (same,) = without_rims(iter([view]), maps, 0)
    np.testing.assert_array_equal(same.depth, depth)


def test_depth_grows_from_what_is_sure():
    """Where it goes on without a step, so many pixels far, and by a rim; not into what lies behind."""
    camera = around(1)[0]
    depth = np.full((5, 40), 3.0, np.float32)
    depth[:, 30:] = 4.0
    depth[:, 25] = 0
    sure = np.zeros(depth.shape, bool)
    sure[:, 10:20] = True
    found = grown(depth, sure, camera)
    assert (found[:, :26] == 3).all() and (found[:, 26:] == 0).all()  # 24 is the last before the gap, 25 its rim
    near = grown(np.full((1, 60), 3.0, np.float32), np.arange(60)[None] < 10, camera)
    assert near[0, 20] == 3 and near[0, 30] == 0


def pair_file(folder: Path) -> Path:
    """All views are the sources of each."""
    write_pairs(folder / "pair.txt", [(a, [(b, 1.0) for b in range(5) if b != a]) for a in range(5)])
    return folder / "pair.txt"


# ---------------------------------------------------------------- bridges


def stepped(behind: float, width: int = 3) -> np.ndarray:
    """A slanted plane, from column 30 on one that far behind it, and between them so many pixels of slope."""
    x = np.arange(60.0)
    inverse = 1 / 3 + 2e-4 * x - np.clip((x - 30) / width, 0, 1) * (1 / 3 - 1 / (3 + behind))
    return np.tile(1 / inverse, (20, 1)).astype(np.float32)


@pytest.mark.parametrize("turned", [False, True])
def test_bridges_join_what_is_near_with_what_is_far(turned):
    """Their pixels are found, in rows and in columns; those of both surfaces stay."""
    depth = stepped(0.5).T if turned else stepped(0.5)
    found = bridges(depth, 160.0)
    found = found.T if turned else found
    assert found[8:12, 31:33].all()
    assert not found[:, :28].any() and not found[:, 36:].any()


def test_what_is_no_bridge():
    """A step within what the depth's own noise is, and planes, however slanted."""
    assert not bridges(stepped(0.02), 160.0).any()
    for normal in ((0, -2.0, -1.0), (0, -2.0, -0.05), (3.0, 1.0, -1.0)):
        view = plain_camera()
        depth = plane_depth(view, np.array(normal), -600.0)
        assert not bridges(np.where(depth > 0, depth, np.float32(0)), view.K[0, 0]).any()


def test_bridges_are_not_kept():
    """Neither as depth nor as sure, whatever check had kept them."""
    depth = stepped(0.5)
    view = KeptView(depth, depth > 0, around(1)[0], 3, 1.0)
    (left,) = without_bridges(iter([view]))
    gone = bridges(depth, 160.0)
    assert gone.any() and (left.number, left.baseline) == (3, 1.0)
    np.testing.assert_array_equal(left.depth > 0, ~gone)
    np.testing.assert_array_equal(left.sure, ~gone)


# ---------------------------------------------------------------- noise


def test_planes_stay_as_they_are():
    """However slanted, up to their borders."""
    view = plain_camera()
    depth = plane_depth(view, np.array([0.8, -2.0, -1.0]), -600.0)
    np.testing.assert_allclose(smoothed(depth, 1.0), depth, rtol=1e-5)


def test_noise_is_averaged_and_edges_stay():
    """To a third and less of what it was; nothing of the far surface gets into the near one, or into no depth."""
    depth = stepped(1.0, width=1)
    depth[:, 50:] = 0
    noisy = (depth * (1 + 2e-3 * np.random.default_rng(0).normal(size=depth.shape))).astype(np.float32)
    smooth = smoothed(noisy, 0.02)
    np.testing.assert_array_equal(smooth > 0, depth > 0)
    inner = np.s_[6:-6, 6:44]
    before, after = (np.abs(each - depth)[inner] for each in (noisy, smooth))
    assert np.median(after) < 0.34 * np.median(before)
    assert after.max() < 0.02


def test_what_is_noise_depends_on_focal_length_and_baseline():
    """A pixel of disparity is a difference of inverse depth of 1 / (focal length * baseline)."""
    depth = np.full((21, 21), 3.0, np.float32)
    depth[10, 11], depth[10, 9] = 1 / (1 / 3 + 0.9 / 160), 1 / (1 / 3 - 0.4 / 160)
    for baseline, taken in ((1.0, True), (2.0, False)):
        view = KeptView(depth, depth > 0, around(1)[0], 0, baseline)
        (smooth,) = smoothed_views(iter([view]), 1.0)
        assert (smooth.depth[10, 10] < 2.9999) == taken  # the pair's mean is nearer than 3
    turned = KeptView(depth, depth > 0, around(1)[0], 0, 0.0)  # the camera only turned between the views
    alone = KeptView(depth, depth > 0, around(1)[0], 0, np.inf)
    for same in (*smoothed_views(iter([view]), 0), *smoothed_views(iter([turned, alone]), 1.0)):
        np.testing.assert_allclose(same.depth, depth, rtol=1e-6)

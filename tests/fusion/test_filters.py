"""Filtered fusion: what the sources confirm becomes points at the mean depth, in the image's colours."""

import numpy as np
import pytest
from fusion_scenes import camera, plane_depth, write_scan
from plyfile import PlyData

from datasets.files import DataError
from datasets.formats.images import write_image
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.formats.ply import read_ply
from datasets.io import write_pairs
from fusion.clouds import CloudOptions
from fusion.consistency import dynamic_check, normal_check
from fusion.filters import fuse_scan_with_filter

SIZE = (24, 32)
NORMAL, OFFSET = np.array([0.2, 0.1, 1.0]), 600.0


@pytest.fixture
def plane_scan(tmp_path):
    """Three views of a plane in red, green and blue, and their pair.txt."""
    cameras = [camera((-8, 0, 0), 0.01), camera((0, 2, 0)), camera((9, 3, 0), -0.01)]
    depths = [plane_depth(view, NORMAL, OFFSET) for view in cameras]
    images = [np.full((*SIZE, 3), 255 * np.eye(3, dtype=np.uint8)[view]) for view in range(3)]
    confidences = [np.full(SIZE, 0.5, np.float32) for _ in range(3)]
    confidences[0][:, :16] = 0.2
    folder = write_scan(tmp_path / "scan 1", depths, cameras, confidences, images)
    write_pairs(folder / "pair.txt", [(view, [(other, 1.0) for other in {0, 1, 2} - {view}]) for view in range(3)])
    return folder


@pytest.mark.parametrize("check", [normal_check(thres_view=2), dynamic_check()])
def test_cloud_of_a_plane(plane_scan, tmp_path, check):
    ply = tmp_path / "cloud.ply"
    count = fuse_scan_with_filter(plane_scan, plane_scan / "pair.txt", ply, 0.1, check)
    points, colors = read_ply(ply)
    assert count == len(points) > 2 * SIZE[0] * SIZE[1]
    assert np.abs(points @ NORMAL - OFFSET).max() < 0.1
    strongest = colors.argmax(axis=1)  # jpg changes the colours a little
    assert (np.diff(strongest) >= 0).all() and set(strongest) == {0, 1, 2}  # view by view


def test_confidence_must_exceed_conf(plane_scan, tmp_path):
    counts = [
        fuse_scan_with_filter(plane_scan, plane_scan / "pair.txt", tmp_path / "c.ply", conf, normal_check(thres_view=1))
        for conf in (0.1, 0.3, 0.5)
    ]
    assert counts[0] > counts[1] > counts[2] == 0
    assert read_ply(tmp_path / "c.ply")[0].shape == (0, 3)


def test_bad_numbers_give_no_point(plane_scan, tmp_path):
    """Not even where no source is asked for: depth that is no depth, confidence that is no number."""
    depth, confidence = (read_pfm(plane_scan / kind / "00000001.pfm") for kind in ("depth_est", "confidence"))
    depth[0, :5] = np.nan, np.inf, -np.inf, 0, -600
    confidence[1, 0] = np.nan
    write_pfm(plane_scan / "depth_est" / "00000001.pfm", depth)
    write_pfm(plane_scan / "confidence" / "00000001.pfm", confidence)
    write_pairs(tmp_path / "pair.txt", [(1, [(0, 1.0)])])
    for check, most in ((normal_check(thres_view=0), depth.size - 6), (normal_check(thres_view=1), depth.size - 7)):
        count = fuse_scan_with_filter(plane_scan, tmp_path / "pair.txt", tmp_path / "c.ply", 0.1, check)
        points, _ = read_ply(tmp_path / "c.ply")
        assert count == len(points) and 0 < count <= most
        assert np.abs(points @ NORMAL - OFFSET).max() < 0.1
        assert check.required != (0,) or count == most


def test_coinciding_centres_agree_where_the_depths_do(tmp_path):
    depths = [np.full(SIZE, depth, np.float32) for depth in (500, 500, 600)]
    folder = write_scan(tmp_path / "scan", depths, [camera()] * 3)
    for source, expected in ((1, depths[0].size), (2, 0)):
        write_pairs(folder / "pair.txt", [(0, [(source, 1.0)])])
        check = normal_check(thres_view=1)
        assert fuse_scan_with_filter(folder, folder / "pair.txt", tmp_path / "c.ply", 0.1, check) == expected


def test_one_view_alone_has_nothing_to_check_against(plane_scan, tmp_path):
    (tmp_path / "pair.txt").write_text("1\n0\n0\n")
    with pytest.raises(DataError, match=r"pair\.txt: lists no view that has source views"):
        fuse_scan_with_filter(plane_scan, tmp_path / "pair.txt", tmp_path / "c.ply", 0.1, normal_check())


@pytest.mark.parametrize("kind", ["images", "confidence"])
def test_maps_and_images_of_another_size_are_named(plane_scan, tmp_path, kind):
    if kind == "images":
        write_image(plane_scan / "images" / "00000001.jpg", np.zeros((24, 30, 3), np.uint8))
    else:
        write_pfm(plane_scan / "confidence" / "00000001.pfm", np.ones((24, 30), np.float32))
    with pytest.raises(DataError, match=rf"{kind}/00000001\.\w+: is 30x24, but .*00000001\.pfm is 32x24"):
        fuse_scan_with_filter(plane_scan, plane_scan / "pair.txt", tmp_path / "c.ply", 0.1, normal_check(thres_view=1))
    assert not (tmp_path / "c.ply").exists()


def test_options_for_clouds(plane_scan, tmp_path):
    """Normals of the plane, towards the cameras; a box; one point per voxel; few points."""
    check, pairs, ply = normal_check(thres_view=2), plane_scan / "pair.txt", tmp_path / "c.ply"
    options = CloudOptions(normals=True, bbox=(-500.0, 0.0, 0.0, 500.0, 500.0, 1000.0), voxel=5.0, max_points=60)
    assert fuse_scan_with_filter(plane_scan, pairs, ply, 0.1, check, options) == 60
    vertices = PlyData.read(ply)["vertex"].data
    assert vertices["y"].min() >= 0
    normals = np.stack([vertices[name] for name in ("nx", "ny", "nz")], axis=1)
    expected = -NORMAL / np.linalg.norm(NORMAL)
    np.testing.assert_allclose(normals, np.tile(expected, (60, 1)), atol=2e-3)


def test_too_few_sources_confirm_nothing(plane_scan, tmp_path):
    pairs = plane_scan / "pair.txt"
    assert fuse_scan_with_filter(plane_scan, pairs, tmp_path / "c.ply", 0.1, normal_check(thres_view=3)) == 0


def test_a_source_listed_twice_counts_once(plane_scan, tmp_path):
    pairs = tmp_path / "pair.txt"
    write_pairs(pairs, [(0, [(1, 1.0), (1, 1.0)])])
    assert fuse_scan_with_filter(plane_scan, pairs, tmp_path / "c.ply", 0.1, normal_check(thres_view=2)) == 0


def test_views_without_sources_are_left_out(plane_scan, tmp_path):
    pairs = tmp_path / "pair.txt"
    write_pairs(pairs, [(0, [(1, 1.0), (5, 1.0)]), (5, [])])  # view 5 is never predicted: it has no sources
    assert fuse_scan_with_filter(plane_scan, pairs, tmp_path / "c.ply", 0.1, normal_check(thres_view=1)) > 0


def test_a_source_that_was_not_predicted_is_named(plane_scan, tmp_path):
    pairs = tmp_path / "pair.txt"
    write_pairs(pairs, [(0, [(1, 1.0), (5, 1.0)]), (1, [(0, 1.0)])])
    with pytest.raises(DataError, match=r"pair\.txt: view 0 needs view 5, but .*00000005\.pfm is missing"):
        fuse_scan_with_filter(plane_scan, pairs, tmp_path / "c.ply", 0.1, normal_check())
    assert not (tmp_path / "c.ply").exists()

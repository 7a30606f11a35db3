"""A scene in UTM or ECEF coordinates is fused as it is near the origin: the same points, in doubles."""

import numpy as np
import pytest
import torch
from fusion_scenes import WORLDS, camera, moved, moved_back, plane_depth, write_scan

from datasets.formats.ply import read_ply
from datasets.io import write_pairs
from datasets.predictions import DepthView, Predictions
from fusion.builtin import fuse_scan
from fusion.clouds import CloudOptions
from fusion.consensus import supported_depth
from fusion.consistency import check_view, colour_difference, normal_check
from fusion.filters import fuse_scan_with_filter
from fusion.sources import Sources

NORMAL, OFFSET = np.array([0.2, 0.1, 1.0]), 600.0
SIZE = (24, 32)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Folders of three noisy views of a plane, by world; "near" is that of the scene."""
    rng = np.random.default_rng(1)
    cameras = [camera((-8, 1, 2), 0.01), camera((0.5, 2, 0)), camera((9, 3, 0.7), -0.01)]
    depths = [plane_depth(view, NORMAL, OFFSET) * (1 + 5e-4 * rng.normal(size=SIZE)) for view in cameras]
    folders = {}
    for world in ("near", *WORLDS):
        placed = cameras if world == "near" else [moved(view, world) for view in cameras]
        folders[world] = write_scan(tmp_path_factory.mktemp("scans") / world, np.float32(depths), placed)
        pairs = [(view, [(other, 1.0) for other in sorted({0, 1, 2} - {view})]) for view in range(3)]
        write_pairs(folders[world] / "pair.txt", pairs)
    return folders


def views(folder) -> list[DepthView]:
    predictions = Predictions(folder)
    return [predictions.view(view) for view in range(3)]


def with_filter(folder, ply, options=CloudOptions()) -> int:
    return fuse_scan_with_filter(folder, folder / "pair.txt", ply, 0.1, normal_check(thres_view=2), options)


def with_numba(folder, ply, options=CloudOptions()) -> int:
    return fuse_scan(folder, [0, 1, 2], ply, 0.3, 0.2, 1, None, options)


def with_torch(folder, ply, options=CloudOptions()) -> int:
    return fuse_scan(folder, [0, 1, 2], ply, 0.3, 0.2, 1, torch.device("cpu"), options)


@pytest.mark.parametrize("fuse", [with_filter, with_numba, with_torch])
@pytest.mark.parametrize("world", WORLDS)
def test_clouds_do_not_depend_on_the_world(scans, tmp_path, world, fuse):
    count = fuse(scans["near"], tmp_path / "near.ply")
    found = fuse(scans[world], tmp_path / "far.ply")
    near, far = (read_ply(tmp_path / name)[0] for name in ("near.ply", "far.ply"))
    assert (near.dtype, far.dtype) == (np.float32, np.float64)
    assert found == pytest.approx(count, rel=0.01) and count > 1000
    if found == count:
        np.testing.assert_allclose(moved_back(far, world), near, atol=0.01)
    assert np.abs(moved_back(far, world) @ NORMAL - OFFSET).max() < 5


@pytest.mark.parametrize("world", WORLDS)
def test_voxels_do_not_round_a_far_world(scans, tmp_path, world):
    """Cells of 2 units, and a point in each at the mean of its points."""
    with_filter(scans[world], tmp_path / "far.ply", CloudOptions(voxel=2.0))
    points, _ = read_ply(tmp_path / "far.ply")
    assert points.dtype == np.float64 and len(np.unique(np.floor(points / 2), axis=0)) == len(points)
    assert np.abs(moved_back(points, world) @ NORMAL - OFFSET).max() < 2


@pytest.mark.parametrize("world", WORLDS)
def test_the_cross_view_check_does_not_depend_on_the_world(scans, world):
    (near, *others), (far, *far_others) = views(scans["near"]), views(scans[world])
    expected, found = (
        check_view(reference, sources, normal_check(thres_view=2))
        for reference, sources in ((near, others), (far, far_others))
    )
    assert (found.passed != expected.passed).sum() <= 2 and expected.passed.sum() > 300
    np.testing.assert_allclose(found.mean[found.passed], expected.mean[found.passed], atol=0.05)


@pytest.mark.parametrize("world", WORLDS)
def test_refinement_and_colours_do_not_depend_on_the_world(scans, world):
    rng = np.random.default_rng(2)
    image, other = (rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in range(2))
    (near, *others), (far, *far_others) = views(scans["near"]), views(scans[world])
    confidences = [np.ones(SIZE, np.float32)] * 2
    refined = supported_depth(far.depth, Sources(far, far_others, confidences))
    expected = supported_depth(near.depth, Sources(near, others, confidences))
    assert (refined != expected).mean() < 0.01
    differences = [colour_difference(a, image, b.camera, other) for a, b in ((near, others[0]), (far, far_others[0]))]
    np.testing.assert_allclose(*differences, atol=1e-3)

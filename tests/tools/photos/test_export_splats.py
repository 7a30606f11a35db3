"""The start of Gaussian splatting: a model with the cloud's points, and inverse depth with its scale."""

import json

import cv2
import numpy as np
import pytest
from exact_results import HEIGHT, VIEWS, WIDTH, write_exact_result
from helpers import error_line, run_program, succeed

from datasets.formats.ply import read_ply
from datasets.layouts.general import GeneralScans
from datasets.results import cloud_path

SCAN = "my scan"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(testpath, outdir, folder) with at most 300 points."""
    root = tmp_path_factory.mktemp("splats")
    testpath, outdir = write_exact_result(root, {SCAN: 1})
    flags = ("--outdir", outdir, "--testpath", testpath, "--folder", root / "splats", "--points", 300)
    assert f"{VIEWS} photos" in succeed(run_program("tools/export_splats.py", *flags))
    return testpath, outdir, root / "splats" / SCAN


def lines(path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()]


def test_priors_give_the_depth(exported):
    """As the readers compute it: value / 65536 * scale + offset is the inverse depth, to 16 bits; 0 without a depth."""
    testpath, _, folder = exported
    params = json.loads((folder / "sparse" / "0" / "depth_params.json").read_text())
    scales = [entry["scale"] for entry in params.values()]
    assert len(params) == VIEWS and max(scales) < 5 * np.median(scales) and min(scales) > 0.2 * np.median(scales)
    for view in range(VIEWS):
        stem = f"{view:08d}"
        values = cv2.imread(str(folder / "depths" / f"{stem}.png"), -1)
        inverse = values.astype(np.float32) / 2**16 * params[stem]["scale"] + params[stem]["offset"]
        truth = GeneralScans(testpath).ground_truth(SCAN, view, (WIDTH, HEIGHT))
        known = truth > 0
        np.testing.assert_allclose(inverse[known], 1 / truth[known], atol=params[stem]["scale"] / 2**16)
        assert values.dtype == np.uint16 and (values[~known] == 0).all()


def test_points_are_the_clouds(exported):
    """Few, of even spacing, near points of the cloud, each seen by the photos of its track at the place told there."""
    testpath, outdir, folder = exported
    rows = lines(folder / "sparse" / "0" / "points3D.txt")
    assert 200 < len(rows) <= 300
    xyz = np.array([row[1:4] for row in rows], float)
    cloud, _ = read_ply(cloud_path(outdir, SCAN))
    assert (
        np.linalg.norm(xyz[:, None] - cloud[None, :5000:7], axis=2).min(axis=1).max() < np.ptp(cloud, axis=0).max() / 4
    )
    sights = lines(folder / "sparse" / "0" / "images.txt")[1::2]
    for row in rows:
        point, track = np.array(row[1:4], float), list(map(int, row[8:]))
        image, sight = track[:2]
        x, y, number = sights[image - 1][3 * sight : 3 * sight + 3]
        u, v, _ = GeneralScans(testpath).camera(SCAN, image - 1).project(point[None])
        assert number == row[0] and (float(x) - 0.5, float(y) - 0.5) == pytest.approx((u[0], v[0]), abs=1e-2)


def test_pixel_centres_are_at_halves(exported):
    testpath, _, folder = exported
    camera = lines(folder / "sparse" / "0" / "cameras.txt")[0]
    K = GeneralScans(testpath).camera(SCAN, 0).K
    np.testing.assert_allclose(np.array(camera[4:], float), [K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5])
    assert (folder / "images" / "00000000.jpg").exists()


def test_without_a_cloud(exported, tmp_path):
    _, outdir, _ = exported
    ply = cloud_path(outdir, SCAN)
    aside = ply.rename(tmp_path / "aside.ply")
    line = error_line(run_program("tools/export_splats.py", "--outdir", outdir, "--folder", tmp_path))
    aside.rename(ply)
    assert "no such cloud; fuse the scan first" in line

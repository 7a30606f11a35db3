"""The scores of the training benchmark: depth and clouds against exact depth."""

import numpy as np
import pytest
from helpers import ROOT, run_program, succeed

from datasets.files import read_json
from datasets.formats.pfm import write_pfm
from datasets.formats.ply import write_ply
from datasets.layouts.general import GeneralScans
from datasets.synthetic.scans import write_test_layout
from tools.evaluation.scenes import cloud_scores, ratios, visible_surface


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """One scan, and two results: depth off by 1 mm and 4 mm, clouds moved along z by as much."""
    root = tmp_path_factory.mktemp("scenes")
    write_test_layout(root / "data", {"scan1": 1}, width=64, height=64, views=5)
    layout = GeneralScans(root / "data")
    surface = visible_surface(layout, "scan1")
    for label, error in (("good", 1.0), ("bad", 4.0)):
        for view, _ in layout.pairs("scan1"):
            depth = layout.ground_truth("scan1", view, (64, 64)) + np.float32(error)
            write_pfm(root / label / "scan1" / "depth_est" / f"{view:08d}.pfm", depth)
        cloud = surface + np.array([0, 0, error])
        write_ply(root / label / "gipuma_pcd" / "mvsnet001_l3.ply", cloud, np.zeros(cloud.shape, np.uint8))
    return root


def test_the_surface_lies_on_the_depth_of_every_view(scenes):
    """Seen from a view again, its own points have the depth they were made of."""
    layout = GeneralScans(scenes / "data")
    surface = visible_surface(layout, "scan1")
    assert surface.shape == (5 * 64 * 64, 3)
    points = surface.reshape(5, 64, 64, 3)
    for view in range(5):
        cam_T_world = layout.camera("scan1", view).cam_T_world
        depth = points[view] @ cam_T_world[2, :3] + cam_T_world[2, 3]
        np.testing.assert_allclose(depth, layout.ground_truth("scan1", view, (64, 64)), rtol=1e-5)


def test_an_exact_cloud_scores_zero_and_an_empty_one_the_cap(scenes, tmp_path):
    layout = GeneralScans(scenes / "data")
    for name, cloud in (("exact", visible_surface(layout, "scan1")), ("empty", np.zeros((0, 3)))):
        write_ply(tmp_path / name / "gipuma_pcd" / "mvsnet001_l3.ply", cloud, np.zeros(cloud.shape, np.uint8))
    assert cloud_scores(layout, tmp_path / "exact", ["scan1"], 20.0)["overall"] < 1e-3
    assert cloud_scores(layout, tmp_path / "empty", ["scan1"], 20.0) == {"acc": 20, "comp": 20, "overall": 20}


def test_ratios_of_shares_are_those_of_the_pixels_beyond():
    first = {"mean": 4.0, "median": 2.0, "acc": 1.0, "comp": 1.0, "overall": 1.0, "within_2": 0.5}
    row = {**first, "median": 1.0, "within_2": 0.75}
    assert ratios(row, first, (2.0,)) == {"mean": 1, "median": 0.5, "acc": 1, "comp": 1, "overall": 1, "beyond_2": 0.5}


def test_program(scenes, tmp_path):
    """The table, the ratios, and the same numbers as JSON."""
    run = run_program(
        "tools/eval_scenes.py", "--testpath", scenes / "data", "--out", tmp_path / "scores.json",
        "--predictions", f"bad={scenes / 'bad'}", f"good={scenes / 'good'}",
    )  # fmt: skip
    succeed(run)
    scores = read_json(tmp_path / "scores.json")
    assert scores["good"]["median"] == pytest.approx(1, rel=1e-3)
    assert scores["good"]["ratios"]["median"] == pytest.approx(0.25, rel=1e-3)
    assert scores["good"]["overall"] < scores["bad"]["overall"] and "good / bad" in run.stdout


def test_missing_exact_depth_is_named(scenes, tmp_path):
    write_test_layout(tmp_path, {"scan1": 1}, width=64, height=64, views=5)
    (tmp_path / "scan1" / "gt" / "00000002.pfm").unlink()
    run = run_program("tools/eval_scenes.py", "--testpath", tmp_path, "--predictions", f"good={scenes / 'good'}")
    assert run.returncode == 1 and "00000002.pfm" in run.stderr and ROOT.name not in run.stderr.split("error")[0]

"""The scores of the training benchmark: depth and clouds against exact depth."""

import shutil

import numpy as np
import pytest
from helpers import ROOT, run_program, succeed

from datasets.files import DataError, read_json
from datasets.formats.pfm import write_pfm
from datasets.formats.ply import write_ply
from datasets.layouts.blended import BlendedScenes
from datasets.layouts.general import GeneralScans
from datasets.synthetic.scans import write_test_layout
from tools.evaluation.predictions import labelled, named_folder
from tools.evaluation.scan_results import ScanResult
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
    assert run.returncode == 1 and "gt/00000002.pfm" in run.stderr and ROOT.name not in run.stderr.split("error")[0]


def write_blended(root, scene="hall"):
    """The test layout's scan as a scene in BlendedMVS's layout."""
    write_test_layout(root / "one", {"scan1": 1}, width=64, height=64, views=5)
    scan, scene = root / "one" / "scan1", root / "blended" / scene
    for old, new in (("images", "blended_images"), ("cams", "cams"), ("gt", "rendered_depth_maps")):
        shutil.copytree(scan / old, scene / new)
    shutil.copy(scan / "pair.txt", scene / "cams" / "pair.txt")
    return root / "blended"


def test_ground_truth_of_other_layouts(tmp_path):
    """BlendedMVS's own depth is what --dataset blended scores depth and clouds by."""
    data, out = write_blended(tmp_path), tmp_path / "out"
    layout = BlendedScenes(data)
    for view, _ in layout.pairs("hall"):
        depth = layout.ground_truth("hall", view, (64, 64)) + np.float32(1)
        write_pfm(out / "hall" / "depth_est" / f"{view:08d}.pfm", depth)
    shutil.copytree(data / "hall" / "cams", out / "hall" / "cams")
    cloud = visible_surface(layout, "hall")
    write_ply(out / "gipuma_pcd" / "hall.ply", cloud, np.zeros(cloud.shape, np.uint8))
    flags = ("--dataset", "blended", "--testpath", data, "--predictions", out, "--out", tmp_path / "scores.json")
    succeed(run_program("tools/eval_depth.py", *flags, "--picture", tmp_path / "sheet.png"))
    assert read_json(tmp_path / "scores.json")["out"]["mean"] == pytest.approx(1, rel=1e-3)
    succeed(run_program("tools/eval_scenes.py", *flags))
    scores = read_json(tmp_path / "scores.json")["out"]
    assert scores["mean"] == pytest.approx(1, rel=1e-3) and scores["overall"] < 1e-3
    result = ScanResult(out, "hall", data, "blended")
    np.testing.assert_allclose(result.depth(0) - result.truth(0), 1, rtol=1e-3)


# ---------------------------------------------------------------- names of predictions


@pytest.fixture
def runs(tmp_path):
    """Three folders of results, all called out."""
    for run in ("a/x", "b/x", "c"):
        (tmp_path / run / "out").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (("a/x/out",), ["out"]),
        (("a/x/out", "c/out"), ["x/out", "c/out"]),
        (("a/x/out", "b/x/out", "c/out"), ["a/x/out", "b/x/out", "c/out"]),
        (("net=a/x/out", "net2=b/x/out", "c/out"), ["net", "net2", "out"]),
        (("out=a/x/out", "c/out"), ["out", "c/out"]),
    ],
)
def test_folders_of_one_name_are_told_apart(runs, given, labels):
    """By the shortest end of the path that does."""
    folders = [named_folder(str(runs / text) if "=" not in text else text.replace("=", f"={runs}/")) for text in given]
    assert list(labelled(folders)) == labels
    assert [path.name for path in labelled(folders).values()] == ["out"] * len(given)


@pytest.mark.parametrize("given", [("net=a/x/out", "net=b/x/out"), ("c/out", "c/out")])
def test_two_predictions_of_one_label_are_refused(runs, given):
    folders = [named_folder(str(runs / text) if "=" not in text else text.replace("=", f"={runs}/")) for text in given]
    with pytest.raises(DataError, match="--predictions: two are called"):
        labelled(folders)


def test_a_path_may_have_the_sign_of_a_label(tmp_path):
    """A folder that is there is taken whole; the first sign ends a label."""
    folder = tmp_path / "lr=0.001" / "out"
    folder.mkdir(parents=True)
    assert labelled([named_folder(str(folder))]) == {"out": folder}
    assert labelled([named_folder(f"net={folder}")]) == {"net": folder}


def test_programs_show_every_prediction(scenes, tmp_path):
    """Two folders of one name make two rows."""
    for run in ("runA", "runB"):
        shutil.copytree(scenes / ("good" if run == "runA" else "bad"), tmp_path / run / "out")
    flags = ("--testpath", scenes / "data", "--predictions", tmp_path / "runA/out", tmp_path / "runB/out")
    for program in ("tools/eval_depth.py", "tools/eval_scenes.py"):
        succeed(run_program(program, *flags, "--out", tmp_path / "o.json"))
        scores = read_json(tmp_path / "o.json")
        assert scores["runA/out"]["median"] < scores["runB/out"]["median"]

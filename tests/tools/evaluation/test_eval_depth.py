"""Depth errors against known depth, and the pictures of them."""

from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, run_program, succeed
from PIL import Image

from datasets.files import DataError, read_json
from datasets.formats.images import read_image_size
from datasets.formats.pfm import write_pfm
from datasets.layouts.general import GeneralScans, SingleScan, SurfacePoints
from datasets.synthetic.scans import write_test_layout
from tools.evaluation.depth import depth_metrics, format_table
from tools.reports.pictures import depth_sheet, render_cloud, turned

HOLOLENS = ROOT.parent / "shared" / "data" / "hololens"


@pytest.fixture
def scenes(tmp_path):
    """A folder with one scan in the test layout, and predictions that are off by 3 mm on the left half."""
    write_test_layout(tmp_path / "scenes", {"scan1": 1}, width=64, height=64, views=5)
    layout = GeneralScans(tmp_path / "scenes")
    for view, _ in layout.pairs("scan1"):
        depth = layout.ground_truth("scan1", view, (64, 64)).copy()
        depth[:, :32] += 3
        write_pfm(tmp_path / "out" / "scan1" / "depth_est" / f"{view:08d}.pfm", depth)
    return layout, tmp_path / "out"


def test_metrics_of_a_known_error(scenes):
    """Half of the pixels exact and half off by 3 mm: mean 1.5, half within 2 mm, all within 4 mm."""
    layout, out = scenes
    metrics = depth_metrics(layout, out, ["scan1"], (2.0, 4.0))
    assert metrics["mean"] == pytest.approx(1.5, abs=1e-3)
    assert metrics["within_2"] == pytest.approx(0.5)
    assert metrics["within_4"] == 1.0
    assert metrics["pixels"] == 5 * 64 * 64
    assert "50.0%" in format_table({"network": metrics})


def overwrite(out: Path, kind: str, view: int, values: np.ndarray) -> None:
    write_pfm(out / "scan1" / kind / f"{view:08d}.pfm", values)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0, -7])
def test_a_pixel_without_depth_is_wrong_by_the_whole_true_depth(scenes, bad):
    """It is not left out: it lies within no threshold, its relative error is 1, and the table has a column for it."""
    layout, out = scenes
    truth = np.concatenate([layout.ground_truth("scan1", view, (64, 64)) for view in range(5)])
    for view in range(5):
        depth = layout.ground_truth("scan1", view, (64, 64)).copy()
        depth[:16] = bad
        overwrite(out, "depth_est", view, depth)
    metrics = depth_metrics(layout, out, ["scan1"], (2.0,), relative=(0.01, 0.5))
    assert metrics["pixels"] == truth.size and metrics["missing"] == 0.25
    assert metrics["within_2"] == metrics["within_1%"] == metrics["within_50%"] == 0.75
    assert metrics["mean_relative"] == 0.25 and metrics["median"] == 0
    assert metrics["mean"] == pytest.approx(truth.reshape(5, 64, 64)[:, :16].sum() / truth.size, rel=1e-5)
    assert "missing" in format_table({"network": metrics})


def test_relative_errors(scenes):
    """Half of the pixels off by 2 % of their depth."""
    layout, out = scenes
    for view in range(5):
        depth = layout.ground_truth("scan1", view, (64, 64)).copy()
        depth[:, :32] *= 1.02
        overwrite(out, "depth_est", view, depth)
    metrics = depth_metrics(layout, out, ["scan1"], (2.0,), relative=(0.01, 0.025))
    assert metrics["mean_relative"] == pytest.approx(0.01, rel=1e-4)
    assert metrics["median_relative"] == pytest.approx(0.01, rel=0.01)  # the mean of the two middle ones, 0 and 2 %
    assert metrics["within_1%"] == 0.5 and metrics["within_2.5%"] == 1
    assert "missing" not in format_table({"network": metrics})


@pytest.fixture
def confident(scenes):
    """The exact half has confidence 0.75, the other 0.25; of each a quarter has no depth or no confidence."""
    layout, out = scenes
    for view in range(5):
        depth = layout.ground_truth("scan1", view, (64, 64)).copy()
        confidence = np.full((64, 64), 0.75, np.float32)
        depth[:, :32] += 3
        confidence[:, :32] = 0.25
        depth[:16, 32:] = np.nan
        confidence[:16, :32] = np.nan
        overwrite(out, "depth_est", view, depth)
        overwrite(out, "confidence", view, confidence)
    return layout, out


def test_completeness_against_confidence(confident):
    """Thresholds are included; NaN is 0; a pixel without depth is never complete; nothing kept, no numbers."""
    layout, out = confident
    curve = depth_metrics(layout, out, ["scan1"], (2.0,), (0.1,), (0.0, 0.25, 0.5, 0.75, 0.8))["curve"]
    assert [point["confidence"] for point in curve] == [0.0, 0.25, 0.5, 0.75, 0.8]
    assert [point["completeness"] for point in curve] == [0.875, 0.75, 0.375, 0.375, 0]
    assert [point["mean"] for point in curve[:4]] == pytest.approx([3 * 4 / 7, 1.5, 0, 0], rel=1e-4)
    assert [point["within_2"] for point in curve[:4]] == pytest.approx([3 / 7, 0.5, 1, 1])
    assert curve[3]["median"] == curve[3]["mean_relative"] == 0 and curve[3]["within_10%"] == 1
    names = ("mean", "median", "within_2", "mean_relative", "within_10%")
    assert [curve[4][name] for name in names] == [None] * 5


def test_thresholds_compare_as_float32(scenes):
    """0.7 in a confidence map, as the filters see it."""
    layout, out = scenes
    for view in range(5):
        overwrite(out, "confidence", view, np.full((64, 64), 0.7, np.float32))
    (point,) = depth_metrics(layout, out, ["scan1"], (2.0,), curve=(0.7,))["curve"]
    assert point["completeness"] == 1


def test_program_prints_and_writes_the_curve(confident, tmp_path):
    layout, out = confident
    flags = ("--testpath", layout.root, "--predictions", f"net={out}", "--relative", "0.01,0.05", "--curve")
    files = ("--out", tmp_path / "o.json", "--picture", tmp_path / "p.png")
    printed = succeed(run_program("tools/eval_depth.py", *flags, *files))
    rows = [line.split() for line in printed.splitlines()]
    assert ["0.3", "37.5%", "0.00", "0.00", "100.0%", "100.0%", "100.0%", "0.00%", "0.00%", "100.0%", "100.0%"] in rows
    assert ["0.9", "0.0%"] + ["-"] * 9 in rows
    metrics = read_json(tmp_path / "o.json")["net"]
    assert len(metrics["curve"]) == 10 and metrics["curve"][9]["mean"] is None
    assert metrics["missing"] == 0.125 and metrics["within_5%"] == 0.875
    assert read_image_size(tmp_path / "p.png") == (4 * 66, 66)


def test_bad_confidence_files_are_named(confident):
    layout, out = confident
    overwrite(out, "confidence", 1, np.ones((64, 60), np.float32))
    with pytest.raises(DataError, match=r"confidence/00000001\.pfm: differs in size from the view's depth map"):
        depth_metrics(layout, out, ["scan1"], (2.0,), curve=(0.5,))
    (out / "scan1" / "confidence" / "00000001.pfm").unlink()
    with pytest.raises(DataError, match=r"confidence/00000001\.pfm: no such file"):
        depth_metrics(layout, out, ["scan1"], (2.0,), curve=(0.5,))
    overwrite(out, "depth_est", 1, np.ones((64, 64, 3), np.float32))
    with pytest.raises(DataError, match=r"depth_est/00000001\.pfm: has three channels"):
        depth_metrics(layout, out, ["scan1"], (2.0,))


@pytest.fixture
def sensed(scenes):
    """The scan's depth as a sensor gives it: 16 bits in whole units in depth/*.png, with a hole, at twice the size."""
    layout, out = scenes
    (layout.root / "scan1" / "depth").mkdir()
    for view in range(5):
        depth = np.rint(layout.ground_truth("scan1", view, (64, 64))).astype(np.uint16)
        overwrite(out, "depth_est", view, depth + np.float32(3))
        depth[:16] = 0
        Image.fromarray(depth.repeat(2, 0).repeat(2, 1)).save(layout.root / "scan1" / "depth" / f"{view:08d}.png")
        (layout.root / "scan1" / "gt" / f"{view:08d}.pfm").unlink()
    return layout, out


def test_sensor_depth(sensed):
    """Read where there is no gt/; 0 is unknown; the nearest pixels of the prediction's size."""
    layout, out = sensed
    metrics = depth_metrics(layout, out, ["scan1"], (2.0, 4.0))
    assert metrics["pixels"] == 5 * 48 * 64 and metrics["mean"] == metrics["median"] == 3
    assert metrics["within_2"] == 0 and metrics["within_4"] == 1


def test_exact_depth_comes_before_sensor_depth(sensed):
    layout, out = sensed
    truth = np.full((64, 64), 500, np.float32)
    truth[0, :3] = np.inf, np.nan, -1  # unknown too
    for view in range(5):
        write_pfm(layout.root / "scan1" / "gt" / f"{view:08d}.pfm", truth)
        overwrite(out, "depth_est", view, np.full((64, 64), 501, np.float32))
    metrics = depth_metrics(layout, out, ["scan1"], (2.0,))
    assert metrics["mean"] == 1 and metrics["pixels"] == 5 * (64 * 64 - 3)


@pytest.fixture
def pointed(scenes):
    """Instead of gt/ every eighth pixel of view 0 as a point in world units; the predictions stay (scenes)."""
    layout, out = scenes
    truth, camera = layout.ground_truth("scan1", 0, (64, 64)), layout.camera("scan1", 0)
    y, x = np.mgrid[4:64:8, 4:64:8].reshape(2, -1)
    world_T_image, z = np.linalg.inv(camera.projection()), truth[y, x]
    np.savetxt(
        layout.root / "scan1" / "sparse_points.txt",
        (world_T_image @ np.stack([x * z, y * z, z, np.ones_like(z)]))[:3].T,
    )
    for path in (layout.root / "scan1" / "gt").iterdir():
        path.unlink()
    pairs = layout.pairs("scan1")[:1]
    layout.pairs = lambda scan: pairs
    return layout, out


def test_points_of_the_surface(pointed):
    """Of 64 points half have the exact depth, half are off by 3 mm; no predicted depth there is wrong."""
    layout, out = pointed
    metrics = depth_metrics(layout, out, ["scan1"], (2.0,), (0.001, 0.1))
    assert metrics["pixels"] == 64 and metrics["mean"] == pytest.approx(1.5, abs=1e-3)
    assert metrics["within_2"] == metrics["within_0.1%"] == 0.5 and metrics["within_10%"] == 1
    overwrite(out, "depth_est", 0, np.zeros((64, 64), np.float32))
    metrics = depth_metrics(layout, out, ["scan1"], (2.0,), (0.1,))
    assert metrics["missing"] == metrics["mean_relative"] == 1 and metrics["within_10%"] == 0


def test_larger_cells_and_leaving_out_isolated_points_keep_fewer(pointed):
    layout, out = pointed
    assert depth_metrics(layout, out, ["scan1"], (2.0,), kept=SurfacePoints(cell=16))["pixels"] == 16
    assert depth_metrics(layout, out, ["scan1"], (2.0,), kept=SurfacePoints(isolated=0.25))["pixels"] == 48


def test_program_prints_a_row_for_every_scan(pointed, tmp_path):
    """Only relative errors, in per cent, where no bound on absolute ones is asked for."""
    layout, out = pointed
    flags = ("--testpath", layout.root, "--predictions", f"net={out}", "--relative", "0.01", "--thresholds", "")
    printed = succeed(run_program("tools/eval_depth.py", *flags, "--by_scan", "--out", tmp_path / "scores.json"))
    assert "mean relative" in printed and "median relative" in printed and "within 1%" in printed
    assert "mean " not in printed.replace("mean relative", "")
    assert printed.splitlines()[1].startswith("scan1 net ")
    share = read_json(tmp_path / "scores.json")["scan1 net"]["within_1%"]
    assert f"{share:.1%}" in printed and share > 0.9  # the other views' points may be hidden


def test_damaged_sensor_depth_is_named(sensed):
    layout, out = sensed
    (layout.root / "scan1" / "depth" / "00000003.png").write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"depth/00000003\.png: is not a readable image"):
        depth_metrics(layout, out, ["scan1"], (2.0,))


def test_truth_without_a_known_pixel_is_no_truth(scenes):
    layout, out = scenes
    for view in range(5):
        write_pfm(layout.root / "scan1" / "gt" / f"{view:08d}.pfm", np.zeros((64, 64), np.float32))
    with pytest.raises(DataError, match="no ground truth"):
        depth_metrics(layout, out, ["scan1"], (2.0,))


@pytest.mark.skipif(not HOLOLENS.is_dir(), reason="the hololens scan does not lie beside the checkout")
def test_a_real_sensor(tmp_path):
    """Some frames of a time-of-flight sensor: against itself no error; the spec's share of known pixels."""
    layout = SingleScan(HOLOLENS)
    pairs = [(view, sources) for view, sources in layout.pairs("hololens")][:3]
    layout.pairs = lambda scan: pairs
    for view, _ in pairs:
        depth = layout.ground_truth("hololens", view, (540, 360))
        assert 0.4 < (depth > 0).mean() < 0.85
        write_pfm(tmp_path / "hololens" / "depth_est" / f"{view:08d}.pfm", depth)
    metrics = depth_metrics(layout, tmp_path, ["hololens"], (2.0,))
    assert metrics["mean"] == 0 and metrics["within_2"] == 1


def test_a_missing_prediction_is_named(scenes):
    """A view that was not predicted is an error with its path."""
    layout, out = scenes
    (out / "scan1" / "depth_est" / "00000002.pfm").unlink()
    with pytest.raises(DataError, match=r"00000002\.pfm"):
        depth_metrics(layout, out, ["scan1"], (2.0,))


def test_scans_without_ground_truth_are_refused(scenes):
    """Nothing to compare with is an error, not a table of nothing."""
    layout, out = scenes
    for path in (layout.root / "scan1" / "gt").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no ground truth"):
        depth_metrics(layout, out, ["scan1"], (2.0,))


def test_sheet_shows_every_prediction(scenes):
    """One row per scan: image, true depth, and two tiles for each prediction, with a frame of a pixel."""
    layout, out = scenes
    sheet = depth_sheet(layout, {"a": out, "b": out}, ["scan1"])
    assert sheet.shape == (66, 66 * 6, 3)
    assert read_image_size(layout.image_path("scan1", 0)) == (64, 64)


def test_sheet_of_bad_numbers_and_other_sizes(scenes):
    """Depth that is none is black; a prediction of another size is shown at the first one's; no truth is needed."""
    layout, out = scenes
    overwrite(out, "depth_est", 0, np.full((64, 64), np.nan, np.float32))
    assert depth_sheet(layout, {"a": out}, ["scan1"]).shape == (66, 66 * 4, 3)
    write_pfm(out / "other" / "scan1" / "depth_est" / "00000000.pfm", np.full((32, 48), 500, np.float32))
    assert depth_sheet(layout, {"a": out, "b": out / "other"}, ["scan1"]).shape == (66, 66 * 6, 3)
    (layout.root / "scan1" / "gt" / "00000000.pfm").unlink()
    assert depth_sheet(layout, {"a": out}, ["scan1"]).shape == (66, 66 * 2, 3)


def test_nearer_points_hide_farther_ones(scenes):
    """Of two points on one line of sight the nearer one's colour is drawn, at the pixel where the camera sees it."""
    layout, _ = scenes
    camera = layout.camera("scan1", 0)
    world_T_cam = np.linalg.inv(camera.cam_T_world)
    directions = np.linalg.inv(camera.K) @ np.array([20.0, 30.0, 1.0])
    points = np.stack([(world_T_cam @ np.append(directions * z, 1))[:3] for z in (500, 600)]).astype(np.float32)
    colors = np.array([[255, 0, 0], [0, 255, 0]], np.uint8)
    for order in ([0, 1], [1, 0]):
        picture = render_cloud(points[order], colors[order], camera, (64, 64), splat=1)
        assert tuple(picture[30, 20]) == (255, 0, 0)
        assert (picture == 255).all(axis=2).sum() == 64 * 64 - 1


def test_a_turned_camera_still_looks_at_the_centre(scenes):
    """The centre keeps its place in the camera, a full turn changes nothing, and a half turn shows the other side."""
    layout, _ = scenes
    camera, center = layout.camera("scan1", 0), np.array([10.0, -20.0, 650.0])
    place = camera.cam_T_world @ np.append(center, 1)
    half = turned(camera, center, 180)
    np.testing.assert_allclose(half.cam_T_world @ np.append(center, 1), place, atol=1e-9)
    np.testing.assert_allclose(turned(half, center, 180).cam_T_world, camera.cam_T_world, atol=1e-9)
    nearer = np.linalg.inv(camera.cam_T_world) @ (place - [0, 0, 50, 0])
    assert (half.cam_T_world @ nearer)[2] == pytest.approx(place[2] + 50)

"""Depth maps of other programs become results: scored, checked, refined and learned from like a network's."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from depth_files import colmap_map, dmap
from helpers import error_line, run_program, succeed
from PIL import Image

from datasets.files import DataError
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.io import read_camera
from datasets.layouts.general import GeneralScans
from datasets.mvs import MVSDataset
from datasets.photos.names import write_photo_names
from datasets.results import LabelFiles, ViewFiles
from datasets.synthetic.scans import write_test_layout
from tools.evaluation.depth import depth_metrics
from tools.prediction.depth_files import files_of_views
from tools.prediction.depth_fit import fitted_line, read_any_points
from tools.prediction.imported import import_depth, resampled
from tools.prediction.predictor import sample_settings
from tools.prediction.settings import ImportSettings

VIEWS = 4
SIZE = (128, 96)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """A rendered scan with exact depth."""
    folder = tmp_path_factory.mktemp("scenes")
    write_test_layout(folder, {"scan1": 1}, *SIZE, views=VIEWS)
    return folder


def exact(scenes: Path, view: int) -> np.ndarray:
    """A view's exact depth."""
    return read_pfm(scenes / "scan1" / "gt" / f"{view:08d}.pfm")


def bring(scenes: Path, outdir: Path, depth: Path, **settings) -> dict:
    """Import maps and score them."""
    settings = ImportSettings(depth, **settings)
    layout = GeneralScans(scenes)
    import_depth(MVSDataset(layout, ["scan1"], sample_settings(settings)), outdir, settings)
    return depth_metrics(layout, outdir, ["scan1"], (), (0.001, 0.01))


def write_maps(folder: Path, scenes: Path, name: str, change=lambda depth: depth) -> Path:
    """The exact depth of every view under a name with {view}, changed."""
    for view in range(VIEWS):
        path = folder / name.format(view=view)
        path.parent.mkdir(parents=True, exist_ok=True)
        values = change(exact(scenes, view)).astype(np.float32)
        if path.suffix == ".pfm":
            write_pfm(path, values)
        elif path.suffix == ".npy":
            np.save(path, values[None])
        elif path.suffix == ".bin":
            path.write_bytes(colmap_map(values))
        elif path.suffix == ".dmap":
            path.write_bytes(dmap(values, f"/somewhere/{view:08d}.jpg", np.full(values.shape, 0.25)))
        else:
            Image.fromarray(np.rint(values).astype(np.uint16)).save(path)
    return folder


# ---------------------------------------------------------------- from files to results


@pytest.mark.parametrize(
    "name",
    [
        "{view:08d}.pfm",
        "{view:08d}.jpg.geometric.bin",
        "stereo/depth_maps/{view:08d}.jpg.photometric.bin",
        "scan1/depth_est/{view:08d}.pfm",
        "{view:08d}.npy",
        "depth0{view:03d}.dmap",
    ],
)
def test_maps_come_as_they_are(scenes, tmp_path, name):
    """Under the names that programs give them, bit by bit, with the images and cameras of the scan."""
    bring(scenes, tmp_path / "out", write_maps(tmp_path / "maps", scenes, name))
    for view in range(VIEWS):
        files = ViewFiles(tmp_path / "out" / "scan1", view)
        np.testing.assert_array_equal(read_pfm(files.depth), exact(scenes, view))
        confidence = 0.25 if name.endswith(".dmap") else 1
        np.testing.assert_array_equal(read_pfm(files.confidence), np.where(exact(scenes, view) > 0, confidence, 0))
        own = read_camera(scenes / "scan1" / "cams" / f"{view:08d}_cam.txt")
        np.testing.assert_allclose(read_camera(files.camera).K, own.K, rtol=1e-6)


def test_depth_in_another_unit_is_named(scenes, tmp_path, capsys):
    """Millimetres for metres, once per scan; not what --scale has brought to the scene's unit."""
    maps = write_maps(tmp_path / "maps", scenes, "{view:08d}.pfm", lambda depth: depth / 1000)
    bring(scenes, tmp_path / "a", maps)
    told = capsys.readouterr().out
    assert told.count("in another unit, --scale gives world units") == 1 and "00000000.pfm: is 0." in told
    bring(scenes, tmp_path / "b", maps, scale=1000.0)
    assert "--scale" not in capsys.readouterr().out


def test_whole_units(scenes, tmp_path):
    """PNG of 16 bits, in tenths of the world's unit."""
    maps = write_maps(tmp_path / "maps", scenes, "{view:08d}.png", lambda depth: 10 * depth)
    assert bring(scenes, tmp_path / "out", maps, scale=0.1)["within_0.1%"] == 1


@pytest.mark.parametrize("size", [(64, 48), (192, 144)])
def test_maps_of_other_sizes(scenes, tmp_path, size):
    """They lie where the scaled camera has them: more exact than a shift by half a pixel would leave them."""
    columns, rows = ((np.arange(n) + 0.5) * (whole / n) - 0.5 for n, whole in zip(size, SIZE, strict=True))
    plane = (3 + columns / 100 + rows[:, None] / 50).astype(np.float32)
    back = resampled(plane, SIZE, SIZE, Path("a"))
    expected = 3 + np.arange(SIZE[0]) / 100 + np.arange(SIZE[1])[:, None] / 50
    np.testing.assert_allclose(back[2:-2, 2:-2], expected[2:-2, 2:-2], rtol=1e-4)
    with pytest.raises(DataError, match=r"^a: is 64x64, but the image 128x96: it is cropped"):
        resampled(np.ones((64, 64), np.float32), SIZE, SIZE, Path("a"))


def test_edges_stay_sharp():
    """Between near and far no depth is made up; what is unknown does not spread."""
    step = np.where(np.arange(64) < 32, 1.0, 5.0).astype(np.float32)
    depth = np.repeat(step[None], 48, axis=0)
    depth[10, 10] = np.nan
    larger = resampled(depth, SIZE, SIZE, Path())
    assert set(np.unique(larger[np.isfinite(larger)])) == {1, 5}
    assert np.isnan(larger).sum() <= 4


def test_results_have_the_size_of_predictions(scenes, tmp_path):
    """With --max_w: the size that test.py would give them, and so the labels."""
    maps = write_maps(tmp_path / "maps", scenes, "{view:08d}.pfm")
    assert bring(scenes, tmp_path / "out", maps, max_size=(64, 64))["within_1%"] > 0.95
    assert read_pfm(ViewFiles(tmp_path / "out" / "scan1", 0).depth).shape == (32, 64)


def test_photos_give_maps_their_names(scenes, tmp_path):
    """An import remembers which photo is which view; folders of photos are kept apart."""
    shutil.copytree(scenes, tmp_path / "scenes")
    write_photo_names(tmp_path / "scenes" / "scan1", ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/3.jpg"])
    maps = tmp_path / "maps"
    for view, name in enumerate(("a/1.jpg", "a/2.jpg", "b/1.jpg", "3.jpg")):
        (maps / name).parent.mkdir(parents=True, exist_ok=True)
        (maps / f"{name}.photometric.bin").write_bytes(colmap_map(exact(scenes, view)))
    metrics = bring(tmp_path / "scenes", tmp_path / "out", maps)
    assert metrics["within_0.1%"] == 1 and metrics["missing"] == 0


def test_a_name_that_two_views_share_names_neither(tmp_path):
    """1.jpg could be a/1.jpg or b/1.jpg."""
    np.save(tmp_path / "1.npy", np.ones((2, 2)))
    assert files_of_views(tmp_path, {0: ["a/1.jpg"], 1: ["b/1.jpg"]}) == {}


def test_a_format_in_capitals(tmp_path):
    for name in ("00000000.PFM", "00000001_pred.NPY"):
        (tmp_path / name).touch()
    assert files_of_views(tmp_path, {0: ["a.jpg"], 1: ["b.jpg"]}) == {0: tmp_path / "00000000.PFM"}
    for suffix in ("_pred.npy", "_pred.NPY"):
        assert files_of_views(tmp_path, {0: ["a.jpg"], 1: ["b.jpg"]}, suffix) == {1: tmp_path / "00000001_pred.NPY"}


def test_a_view_without_a_map_is_named_and_empty(scenes, tmp_path, capsys):
    maps = write_maps(tmp_path / "maps", scenes, "{view:08d}_pred.npy")
    (maps / "00000002_pred.npy").unlink()
    assert bring(scenes, tmp_path / "out", maps, suffix="_pred.npy")["missing"] == pytest.approx(1 / VIEWS, abs=0.02)
    assert "has no map of the views 2 of scan1; they get no depth" in capsys.readouterr().out
    assert not read_pfm(ViewFiles(tmp_path / "out" / "scan1", 2).depth).any()


def test_confidence_of_its_own(scenes, tmp_path):
    """From another folder; shares of 65535 in PNG; beside depth_est/ without a word."""
    maps = write_maps(tmp_path / "maps", scenes, "depth_est/{view:08d}.pfm")
    write_maps(tmp_path / "maps", scenes, "confidence/{view:08d}.pfm", lambda depth: np.full_like(depth, 0.5))
    write_maps(tmp_path / "other", scenes, "{view:08d}.png", lambda depth: np.full_like(depth, 65535 // 4))
    for given, expected in ((None, 0.5), (tmp_path / "other", 0.25)):
        bring(scenes, tmp_path / "out", maps, confidence=given)
        confidence = read_pfm(ViewFiles(tmp_path / "out" / "scan1", 1).confidence)
        assert np.allclose(confidence[exact(scenes, 1) > 0], expected, atol=1e-4)


@pytest.mark.parametrize(("depth", "kind"), [(".", "depth_est"), ("scan1/depth_est", "depth_est"), ("x", "confidence")])
def test_maps_are_not_replaced_by_what_is_made_of_them(scenes, tmp_path, depth, kind):
    """As networks of this kind leave them: refused, and every file stays."""
    name = "scan1/{kind}/{{view:08d}}.pfm".format
    write_maps(tmp_path, scenes, name(kind="depth_est"))
    write_maps(tmp_path, scenes, name(kind="confidence"), lambda depth: 0.5 + 0 * depth)
    write_maps(tmp_path / "x", scenes, "{view:08d}.pfm")
    confidence = tmp_path if kind == "confidence" else None
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(DataError, match=f"{kind} holds the maps to be imported; name another folder"):
        bring(scenes, tmp_path, tmp_path / depth, confidence=confidence)
    assert files == {path: path.read_bytes() for path in tmp_path.rglob("*.*")}


def test_a_rerun_brings_what_has_changed(scenes, tmp_path, capsys):
    maps = write_maps(tmp_path / "maps", scenes, "{view:08d}.npy")
    bring(scenes, tmp_path / "out", maps)
    bring(scenes, tmp_path / "out", maps)
    assert f"{VIEWS} views are finished already" in capsys.readouterr().out
    write_maps(maps, scenes, "{view:08d}.npy", lambda depth: 2 * depth)
    assert bring(scenes, tmp_path / "out", maps)["within_1%"] == 0


# ---------------------------------------------------------------- relative depth


def test_a_line_is_found_among_wrong_points():
    """With 40 % of the points anywhere, and noise."""
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 5, 400)
    y = (0.7 * x + 2) * rng.normal(1, 0.01, 400)
    y[:160] = rng.uniform(1, 60, 160)
    line = fitted_line(x, y)
    assert line.scale == pytest.approx(0.7, abs=0.02) and line.shift == pytest.approx(2, abs=0.05)
    assert line.error < 0.03
    assert fitted_line(x[:19], y[:19]) is None and fitted_line(np.ones(50), y[:50]) is None
    assert fitted_line(-x[160:], y[160:]) is None  # far would be near


@pytest.mark.parametrize("inverse", [False, True])
def test_relative_depth_is_brought_to_scale(scenes, tmp_path, inverse):
    """Each view has a scale and a shift of its own; the points are those of a text file."""
    layout = GeneralScans(scenes)
    points = np.concatenate(
        [layout.camera("scan1", v).lift(exact(scenes, v), exact(scenes, v) > 0) for v in range(VIEWS)]
    )
    np.savetxt(tmp_path / "points.txt", points[::50])
    rng = np.random.default_rng(1)

    def relative(depth: np.ndarray) -> np.ndarray:
        values = np.where(depth > 0, 1 / np.maximum(depth, 1), np.nan) if inverse else depth
        shift = rng.uniform(0.1, 0.5) * np.nanmax(values)
        return rng.uniform(0.5, 2) * values + (shift if not inverse else -shift)

    maps = write_maps(tmp_path / "maps", scenes, "{view:08d}.npy", relative)
    metrics = bring(scenes, tmp_path / "out", maps, inverse=inverse, fit=True, points=tmp_path / "points.txt")
    assert metrics["within_1%"] > 0.97


def test_no_scale_no_depth(scenes, tmp_path, capsys):
    """Maps that say nothing about the points, and too few points."""
    (tmp_path / "points.txt").write_text("0 0 0\n")
    maps = write_maps(tmp_path / "maps", scenes, "{view:08d}.npy")
    metrics = bring(scenes, tmp_path / "out", maps, fit=True, points=tmp_path / "points.txt")
    assert metrics["missing"] == 1
    told = capsys.readouterr().out
    assert "scan1: view 0: no scale explains its depth" in told
    assert f"{VIEWS} of the {VIEWS} views that were brought have no depth at all" in told


def test_points_of_any_file(tmp_path):
    (tmp_path / "a.txt").write_text("1 2 3\n4 5 6\n")
    np.testing.assert_array_equal(read_any_points(tmp_path / "a.txt"), [[1, 2, 3], [4, 5, 6]])
    with pytest.raises(DataError):
        read_any_points(tmp_path / "nowhere")


# ---------------------------------------------------------------- program


def test_labels_clouds_and_refinement_from_imported_depth(scenes, tmp_path):
    """check_and_encode.py makes labels of it, test.py refines and fuses it."""
    maps, out = write_maps(tmp_path / "maps", scenes, "{view:08d}.jpg.geometric.bin"), tmp_path / "out"
    flags = ("--testpath", scenes, "--depth", maps, "--outdir", out)
    assert f"depth of {VIEWS} views" in succeed(run_program("tools/import_depth.py", *flags))
    flags = ("--testpath", out, "--pairpath", scenes, "--outdir", tmp_path / "labels", "--thres_view", 2)
    succeed(run_program("tools/check_and_encode.py", *flags))
    label = read_pfm(LabelFiles(tmp_path / "labels" / "scan1", 0).mean)
    assert (label > 0).mean() > 0.5 and np.allclose(label[label > 0], exact(scenes, 0)[label > 0], rtol=0.005)
    flags = ("--testpath", scenes, "--outdir", out, "--skip_depth", "--refine", 1)
    printed = succeed(run_program("test.py", *flags, "--filter_method", "normal", "--thres_view", 2))
    assert int(printed.split("scan1: ")[1].split()[0]) > 1000


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--depth", "nowhere"), "--depth nowhere: no such folder"),
        (("--depth", "{scenes}", "--scale", 2, "--fit_points"), "--scale and --fit_points"),
        (("--depth", "{scenes}", "--scale", 2, "--values", "inverse"), "--scale 2: is for depth"),
        (("--depth", "{scenes}/scan1/images"), "holds no depth map"),
        (("--depth", "{scenes}/scan1/gt", "--suffix", "_pred.npy"), "no map in it is called by a photo"),
    ],
)
def test_mistakes_are_one_line(scenes, tmp_path, flags, message):
    flags = [flag.format(scenes=scenes) if isinstance(flag, str) else flag for flag in flags]
    result = run_program("tools/import_depth.py", "--testpath", scenes, "--outdir", tmp_path, *flags)
    assert message in error_line(result)

"""The length of a scan, told afterwards: the cloud follows, and a later fusion keeps it."""

import json

import cv2
import numpy as np
import PIL.Image
import pytest
from exact_results import VIEWS, write_exact_result
from helpers import error_line, run_program, succeed
from marker_photos import looking_at, photo_of_plane

from datasets.formats.images import write_image
from datasets.formats.ply_clouds import read_cloud_blocks
from datasets.io import write_camera, write_pairs
from datasets.layouts.general import GeneralScans
from datasets.photos.names import write_photo_names
from datasets.results import cloud_path
from datasets.units import Units, read_units, transformed, write_units
from fusion.options import Cleaning, CloudOptions
from tools.evaluation.scan_results import ScanResult
from tools.photos.scale import note_units, units_by_marker
from tools.prediction.fuse import fuse
from tools.prediction.settings import FusionSettings

SCAN = "my scan"
CLOUD = CloudOptions(normals=True, cleaning=Cleaning(region=0), max_points=2000, thinning="even")
SETTINGS = FusionSettings(method="normal", thres_view=2, cloud=CLOUD)


@pytest.fixture
def result(tmp_path):
    """(testpath, outdir, cloud) of a scan that stands upright in units of its own."""
    testpath, outdir = write_exact_result(tmp_path, {SCAN: 1})
    write_units(outdir / SCAN / "units.json", Units())
    fuse(outdir, GeneralScans(testpath), SCAN, SETTINGS)
    return testpath, outdir, cloud_path(outdir, SCAN)


def places(ply) -> np.ndarray:
    return np.concatenate([block.xyz for block in read_cloud_blocks(ply)]).astype(np.float64)


def test_a_known_distance(result):
    """Two points of the cloud that are 2.5 m apart: they are then, and so is everything else to scale."""
    _, outdir, ply = result
    before, all_before = places(ply), places(ply.with_name("my scan_all.ply"))
    a, b = before[10], before[-10]
    picked = ["--pick=" + ",".join(map(repr, point.tolist())) for point in (a, b)]
    out = succeed(run_program("tools/set_scale.py", "--outdir", outdir, *picked, "--distance", 2.5))
    assert "in metres by a distance of 2.5 m between two points" in out
    after, all_after = places(ply), places(ply.with_name("my scan_all.ply"))
    assert np.linalg.norm(after[10] - after[-10]) == pytest.approx(2.5, rel=1e-4)
    factor = 2.5 / np.linalg.norm(a - b)
    np.testing.assert_allclose(after, factor * before, atol=2e-2 * factor * np.ptp(before))
    assert np.ptp(all_after, axis=0) == pytest.approx(factor * np.ptp(all_before, axis=0), rel=1e-2)
    units = read_units(ply.with_name("units.json"))
    assert units.units == "metres" and units.up == (0, 0, 1)


def test_a_later_fusion_keeps_it(result):
    """With other settings, too: the metres stay."""
    testpath, outdir, ply = result
    succeed(run_program("tools/set_scale.py", "--outdir", outdir, "--metric", "ARKit"))
    size = np.ptp(places(ply), axis=0)
    assert read_units(outdir / SCAN / "units.json").source == "ARKit"
    fuse(outdir, GeneralScans(testpath), SCAN, SETTINGS)
    assert read_units(ply.with_name("units.json")).units == "metres"
    assert np.ptp(places(ply), axis=0) == pytest.approx(size, rel=2e-2)


def test_cameras_follow_the_cloud(result):
    """Every point of a view's depth map, read through the result, lies where the cloud has it."""
    testpath, outdir, ply = result
    scan = ScanResult(outdir, SCAN, testpath)
    view = scan.predictions.view(0)
    points = view.camera.lift(view.depth, view.depth > 0)
    T = read_units(ply.with_name("units.json")).world_T_scan
    camera, depth = GeneralScans(testpath).camera(SCAN, 0), ScanResult(outdir, SCAN, None).depth(0)
    scale = scan.units.scale
    expected = transformed(T, camera.lift(depth / scale, depth > 0))[0]
    np.testing.assert_allclose(points, expected, atol=1e-3 * np.ptp(expected))
    low, high = places(ply).min(axis=0), places(ply).max(axis=0)
    inside = ((points > low - 0.1 * (high - low)) & (points < high + 0.1 * (high - low))).all(axis=1)
    assert inside.mean() > 0.7
    np.testing.assert_allclose(scan.truth(0), scan.depth(0), rtol=1e-5)


def test_a_mesh_of_other_units_goes(result):
    """It would be shown with the wrong length; the cloud's record asks for a new one."""
    _, outdir, ply = result
    mesh = ply.with_name("my scan_mesh.glb")
    mesh.write_bytes(b"mesh")
    out = succeed(run_program("tools/set_scale.py", "--outdir", outdir, "--metric", "ARKit"))
    assert "my scan_mesh.glb: removed" in out
    assert not mesh.exists() and json.loads((outdir / SCAN / "fusion.json").read_text())["made_from"] == ""


def test_half_written_clouds_are_not_moved(result):
    """Killed in between, the record is missing: the cloud has to be fused again."""
    _, outdir, _ = result
    (outdir / SCAN / "fusion.json").unlink()
    line = error_line(run_program("tools/set_scale.py", "--outdir", outdir, "--metric", "ARKit"))
    assert "is missing or half-written; fuse the scan (again) first" in line


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "give one of --pick, --marker, --gps and --metric"),
        (("--metric", "x", "--marker", 1), "give one of --pick"),
        (("--pick=0,0,0", "--pick=1,0,0"), "--pick and --distance belong together"),
        (("--pick=0,0", "--pick=1,0,0", "--distance", 1), "--pick: two points are needed"),
        (("--pick=1,0,0", "--pick=1,0,0", "--distance", 1), "both points are the same"),
        (("--marker", 0.1), "--marker: needs --testpath"),
    ],
)
def test_flags_that_cannot_be(result, flags, message):
    assert message in error_line(run_program("tools/set_scale.py", "--outdir", result[1], *flags))


def test_a_marker_in_the_photos(tmp_path):
    """Its length in the scan becomes the length on paper; without one, a sentence."""
    marker = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50), 3, 200)
    sheet = np.repeat(np.pad(marker, 100, constant_values=255)[..., None], 3, axis=2)
    for view, x in enumerate((-0.3, 0.05, 0.3)):
        camera = looking_at((x, -0.2, 0.9), (0, 0, 0))
        write_camera(tmp_path / "table" / "cams" / f"{view:08d}_cam.txt", camera, np.float64)
        write_image(tmp_path / "table" / "images" / f"{view:08d}.jpg", photo_of_plane(sheet, 0.3, camera), quality=98)
    write_pairs(tmp_path / "table" / "pair.txt", [(view, [((view + 1) % 3, 1.0)]) for view in range(3)])
    units = units_by_marker(GeneralScans(tmp_path), "table", 0.075)
    assert units.scale == pytest.approx(0.5, rel=1e-2) and units.units == "metres"
    assert "marker 3 of 4X4_1000 in 3 photos" in units.source


# ---------------------------------------------------------------- what photos tell by themselves


def photos_with_gps(folder, layout, scale: float) -> None:
    """A photo for each view of a scan, taken where its camera stands, so many metres a unit, and their names."""
    folder.mkdir()
    for view in range(VIEWS):
        east, north, up = layout.camera(SCAN, view).centre * [scale, scale, scale]
        exif = PIL.Image.Exif()
        latitude, longitude = 48 + north / 111_200, 11 + east / 74_600
        tags = {1: "N", 2: (latitude, 0.0, 0.0), 3: "E", 4: (longitude, 0.0, 0.0), 5: b"\0", 6: 500 + up}
        exif.get_ifd(0x8825).update(tags)
        PIL.Image.new("RGB", (8, 8)).save(folder / f"IMG_{view}.jpg", exif=exif)
    write_photo_names(layout.root / SCAN, [f"IMG_{view}.jpg" for view in range(VIEWS)])


def test_gps_of_the_photos(tmp_path, capsys):
    """It is found by itself; what somebody has said goes before it."""
    testpath, outdir = write_exact_result(tmp_path, {SCAN: 1})
    layout = GeneralScans(testpath)
    photos_with_gps(tmp_path / "photos", layout, 0.2)
    note_units(tmp_path / "photos", layout, SCAN, outdir)
    units = read_units(outdir / SCAN / "units.json")
    assert units.units == "metres" and units.scale == pytest.approx(0.2, rel=0.02)
    assert units.source == f"GPS of {VIEWS} photos" and "units: metres by GPS" in capsys.readouterr().out
    write_units(outdir / SCAN / "units.json", Units("metres", "a distance of 1 m between two points"))
    note_units(tmp_path / "photos", layout, SCAN, outdir)
    assert read_units(outdir / SCAN / "units.json").source.startswith("a distance")


def test_gps_of_photos_too_near_each_other(tmp_path, capsys):
    """A sentence says why there are no metres; the scan stands upright in units of its own."""
    testpath, outdir = write_exact_result(tmp_path, {SCAN: 1})
    layout = GeneralScans(testpath)
    photos_with_gps(tmp_path / "photos", layout, 0.001)
    note_units(tmp_path / "photos", layout, SCAN, outdir)
    assert read_units(outdir / SCAN / "units.json").record() == Units().record()
    assert "too little to tell a length" in capsys.readouterr().out


def test_photos_without_gps(tmp_path, capsys):
    """Nothing is said about it."""
    testpath, outdir = write_exact_result(tmp_path, {SCAN: 1})
    note_units(tmp_path / "none", GeneralScans(testpath), SCAN, outdir)
    assert read_units(outdir / SCAN / "units.json").units == "units" and capsys.readouterr().out == ""

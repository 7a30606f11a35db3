"""Depth lines of converters told apart by what is plausible, and cameras that do not belong to their images."""

import shutil
from pathlib import Path

import cv2
import pytest
from helpers import error_line, run_program

from datasets.files import DataError
from datasets.formats.images import read_image, write_image
from datasets.layouts import LAYOUTS
from datasets.synthetic.scans import write_test_layout


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    """A scan in the test layout: `425 2.5`."""
    root = tmp_path_factory.mktemp("test")
    write_test_layout(root, {"garden": 1}, 96, 64, 3)
    return root / "garden"


@pytest.fixture
def scan(rendered, tmp_path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(rendered, tmp_path / "garden"))


def set_lines(scan: Path, *lines: str) -> None:
    """Give the camera files of a scan other last lines, one after the other."""
    for k, path in enumerate(sorted((scan / "cams").glob("*_cam.txt"))):
        path.write_text("\n".join([*path.read_text().split("\n")[:-2], lines[k % len(lines)], ""]))


def depths(scan: Path, name: str = "general_eval", view: int = 0) -> tuple[float, float]:
    """The depth range of a view in a layout."""
    return LAYOUTS[name].of_one_scan(scan).camera("garden", view).depth_range(192)


@pytest.mark.parametrize(
    "line",
    ["425 2.5", "425 2.5 192", "425 2.5 192 905", "425 905", "425 905 2.5", "425 2.5 192.0 902.5", "425 905 2.4"],
)
def test_every_form(scan, line):
    """The same range, whichever converter wrote the files."""
    set_lines(scan, line)
    assert depths(scan) == pytest.approx((425, 905), rel=1e-3)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("425 200",), "as interval depths reach from 425 to 38825, over 50:1"),
        (("1 60",), "as depth_max depths reach from 1 to 60, over 50:1; --dataset tanks"),
        (("425 2.5 3",), "has 3 as the number of depths, which is very few"),
        (("425 2.5 100.5",), "has 100.5 as the number of depths, which is fractional"),
        (("425 905 300",), "neither 'depth_min interval count' nor 'depth_min depth_max interval'"),
        (("425 2.5 192 2000",), "is not 'depth_min interval count depth_max': 425 \\+ 192 x 2.5 is 905"),
        (("425 905 192 2.5",), "is not 'depth_min interval count depth_max'"),
        (("425 2.5", "425 905"), "interval and depth_max are mixed"),
    ],
)
def test_what_is_in_no_form_plausible(scan, lines, message):
    """One line that names the file, and says how to say what is meant."""
    set_lines(scan, *lines)
    with pytest.raises(DataError, match=message) as caught:
        depths(scan)
    assert "_cam.txt: " in str(caught.value) and "--dataset as_written" in str(caught.value)
    assert depths(scan, "as_written")


def test_four_numbers_that_agree(scan):
    """They are taken at their word, however wide the range and however few the depths."""
    set_lines(scan, "1 25 4 101")
    assert depths(scan) == (1, 101)


def test_a_wide_range_of_tanks(scan):
    """--dataset tanks says that two numbers are depths; alone or in a folder of scans."""
    set_lines(scan, "1 60")
    assert depths(scan, "tanks") == (1, 60)
    assert LAYOUTS["tanks"](scan.parent).camera("garden", 0).depth_range(192) == (1, 60)


def test_images_of_another_size(scan):
    """The principal point of larger images lies near the corner of smaller ones."""
    for path in (scan / "images").iterdir():
        write_image(path, cv2.resize(read_image(path), (48, 32)))
    with pytest.raises(DataError, match=r"principal point .* is outside the middle half of the 48x32 image"):
        depths(scan)
    assert depths(scan, "as_written") == (425, 905)


@pytest.mark.parametrize("size", [(72, 48), (76, 51), (120, 80), (144, 96), (115, 77)])
def test_images_scaled_a_little(scan, size):
    """Then the principal point is off alike in both directions, wherever it is."""
    for path in (scan / "images").iterdir():
        write_image(path, cv2.resize(read_image(path), size))
    with pytest.raises(DataError, match=f"of the {size[0]}x{size[1]} image, as if K were made for another size"):
        depths(scan)


def test_images_cropped_a_little(scan):
    """The principal point is off in one direction, or a little: nothing to say."""
    for path in (scan / "images").iterdir():
        write_image(path, read_image(path)[:48, :86])
    assert depths(scan) == (425, 905)


def test_the_folder_cams_1(scan):
    """As TransMVSNet and MVSFormer take Tanks and Temples."""
    (scan / "cams").rename(scan / "cams_1")
    assert depths(scan) == depths(scan, "tanks") == (425, 905)
    (scan / "cams_1").rename(scan / "cameras")
    with pytest.raises(DataError, match="cams"):
        LAYOUTS["tanks"].of_one_scan(scan).check_views("garden", [0], [0])


def test_one_scan_in_any_layout(scan, tmp_path):
    """--testpath_single_scene heeds --dataset."""
    set_lines(scan, "1 60")
    flags = ("--testpath_single_scene", scan, "--outdir", tmp_path / "out", "--device", "cpu")
    line = error_line(run_program("test.py", *flags, "--filter_method", "none", "--num_workers", 0))
    assert "over 50:1" in line
    for name in LAYOUTS:
        assert LAYOUTS[name].of_one_scan(scan).scans("all") == ["garden"]

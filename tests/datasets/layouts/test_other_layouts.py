"""BlendedMVS and Tanks and Temples: their files where their readers look, and their camera files' last lines."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT

from datasets.files import DataError, read_scan_list
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.layouts.blended import BlendedScenes
from datasets.layouts.tanks import TanksScans
from datasets.mvs import Settings, open_dataset
from datasets.synthetic.scans import write_test_layout


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    """A rendered scan in the test layout."""
    root = tmp_path_factory.mktemp("test")
    write_test_layout(root, {"Family": 1}, 96, 64, 3)
    return root / "Family"


@pytest.fixture
def blended(scan, tmp_path) -> Path:
    """The same scan as a scene of BlendedMVS."""
    scene = tmp_path / "5b7a3890fc8fcf6781e2593a"
    shutil.copytree(scan / "images", scene / "blended_images")
    shutil.copytree(scan / "cams", scene / "cams")
    shutil.copy(scan / "pair.txt", scene / "cams")
    shutil.copytree(scan / "gt", scene / "rendered_depth_maps")
    return scene


def set_depth_line(scan: Path, line: str) -> None:
    """Give every camera file of a scan another last line."""
    for path in (scan / "cams").glob("*_cam.txt"):
        path.write_text("\n".join([*path.read_text().split("\n")[:-2], line, ""]))


def test_blended_samples(blended, scan):
    """Images, cameras and depths of the scene are those of the test layout."""
    set_depth_line(blended, "425 2.5 192 905")
    settings = Settings(views=3, ground_truth=True)
    sample = open_dataset("blended", blended.parent, "all", settings)[0]
    same = open_dataset("general_eval", scan.parent, "all", settings)[0]
    assert sample["scan"] == blended.name
    np.testing.assert_array_equal(sample["imgs"], same["imgs"])
    np.testing.assert_array_equal(sample["depth"]["stage3"], same["depth"]["stage3"])
    assert sample["depth_values"][0] == 425 and len(sample["depth_values"]) == 192


def test_blended_depth(blended):
    """Scaled to the image, 0 where it is unknown; None where there is no file."""
    path = blended / "rendered_depth_maps" / "00000001.pfm"
    depth = read_pfm(path)
    depth[:2, :2] = np.nan, -1
    write_pfm(path, depth)
    layout = BlendedScenes(blended.parent)
    np.testing.assert_array_equal(layout.ground_truth(blended.name, 1, (96, 64)), np.nan_to_num(depth).clip(0))
    assert layout.ground_truth(blended.name, 1, (48, 32)).shape == (32, 48)
    path.unlink()
    assert layout.ground_truth(blended.name, 1, (96, 64)) is None


def test_a_blended_scene_that_is_not_there(blended):
    """It is named."""
    with pytest.raises(DataError, match="nothing: no such scene"):
        BlendedScenes(blended.parent).pairs("nothing")


@pytest.mark.parametrize("line", ["425.5 905.5", "425.5 2.5 192 905.5", "425.5 2.5", "425.5 5 96"])
def test_tanks_depth_ranges(scan, tmp_path, line):
    """However the last line says it, the range is the same for any number of depths, and for the networks."""
    shutil.copytree(scan, tmp_path / "Family")
    set_depth_line(tmp_path / "Family", line)
    layout = TanksScans(tmp_path)
    assert layout.camera("Family", 0).depth_range(192) == pytest.approx((425.5, 905.5))
    sample = open_dataset("tanks", tmp_path, "all", Settings(views=3))[0]
    assert sample["depth_values"][[0, -1]] == pytest.approx([425.5, 903.0])


def test_lists():
    """BlendedMVS has 106 scenes for training and 7 for validation; Tanks and Temples 8 and 6."""
    lists = {path: read_scan_list(ROOT / "lists" / path) for path in ("bld/train.txt", "bld/val.txt")}
    assert [len(scans) for scans in lists.values()] == [106, 7]
    assert not set(lists["bld/train.txt"]) & set(lists["bld/val.txt"])
    assert len(read_scan_list(ROOT / "lists/tanks/intermediate.txt")) == 8
    assert len(read_scan_list(ROOT / "lists/tanks/advanced.txt")) == 6

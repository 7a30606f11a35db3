"""A scan whose images have masks: outside there is no depth, no confidence and no point, whatever is made of it."""

from pathlib import Path

import numpy as np
import pytest
from helpers import FAST, change_times, run_program, succeed, write_checkpoint

from datasets.formats.images import write_image
from datasets.formats.pfm import read_pfm
from datasets.formats.ply import read_ply
from datasets.io import read_camera
from datasets.synthetic.scans import write_test_layout

VIEWS = 3
INSIDE = (slice(8, 56), slice(24, 72))


@pytest.fixture
def scan(tmp_path) -> Path:
    """A rendered scan of 96x64 whose middle is inside the masks."""
    write_test_layout(tmp_path / "scans", {"garden": 3}, 96, 64, VIEWS)
    mask = np.zeros((64, 96), np.uint8)
    mask[INSIDE] = 255
    for view in range(VIEWS):
        write_image(tmp_path / "scans" / "garden" / "masks" / f"{view:08d}.png", mask)
    return tmp_path / "scans" / "garden"


def run_test(scan: Path, outdir: Path, *flags: object) -> str:
    """test.py on the scan, with weights by rule; every depth that two views have may become a point."""
    checkpoint = write_checkpoint(outdir.parent / "student.ckpt")
    given = ("--testpath_single_scene", scan, "--loadckpt", checkpoint, "--outdir", outdir)
    fusion = ("--num_view", 3, "--num_consistent", 1, "--disp_threshold", 5, "--prob_threshold", 0.001)
    return succeed(run_program("test.py", *given, *FAST, *fusion, *flags))


@pytest.mark.parametrize("flags", [(), ("--refine", 2)], ids=["raw", "refined"])
def test_nothing_outside_a_mask(scan, tmp_path, flags):
    """Depth and confidence are 0 there, refined depth too; no point of the cloud falls there in the view it is from."""
    out = tmp_path / "out"
    run_test(scan, out, *flags, *(("--fuse_depth", "refined") if flags else ()))
    outside = np.ones((64, 96), bool)
    outside[INSIDE] = False
    for view in range(VIEWS):
        depth, confidence = (
            read_pfm(out / "garden" / kind / f"{view:08d}.pfm") for kind in ("depth_est", "confidence")
        )
        assert (depth[outside] == 0).all() and (depth[~outside] > 0).all()
        assert (confidence[outside] == 0).all() and confidence[~outside].max() > 0
    points, _ = read_ply(out / "gipuma_pcd" / "garden.ply")
    assert 0 < len(points) <= VIEWS * 48 * 48
    seen = np.zeros(len(points), bool)
    for view in range(VIEWS):
        u, v, z = read_camera(scan / "cams" / f"{view:08d}_cam.txt").project(points)
        seen |= (z > 0) & (u > 23) & (u < 72) & (v > 7) & (v < 56)
    assert seen.all()


def test_a_mask_that_changes_makes_its_view_anew(scan, tmp_path):
    """And no other one."""
    out = tmp_path / "out"
    run_test(scan, out, "--filter_method", "none")
    before = change_times(out, "*.pfm")
    write_image(scan / "masks" / "00000001.png", np.full((64, 96), 255, np.uint8))
    run_test(scan, out, "--filter_method", "none")
    changed = {Path(name).name for name, time in change_times(out, "*.pfm").items() if before[name] != time}
    assert changed == {"00000001.pfm"}
    assert (read_pfm(out / "garden" / "depth_est" / "00000001.pfm") > 0).all()

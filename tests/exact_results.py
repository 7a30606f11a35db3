"""Results as test.py leaves them, of procedural scenes and with their exact depth."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datasets.files import write_json
from datasets.formats.pfm import write_pfm
from datasets.layouts.general import GeneralScans
from datasets.results import cloud_name
from datasets.synthetic.scans import write_test_layout
from fusion.consistency import normal_check
from fusion.filters import fuse_scan_with_filter

WIDTH, HEIGHT, VIEWS = 96, 64, 5
UNSURE_ROWS = 8  # at the top of every view, with little confidence
SETTINGS = {"weights_sha256": "0123abcd", "views": 5}


def write_exact_result(root: Path, scans: Mapping[str, int]) -> tuple[Path, Path]:
    """(testpath, outdir) of scans, name -> seed: the scenes in the test layout, and their depths, fused."""
    testpath, outdir = root / "data", root / "out"
    write_test_layout(testpath, scans, WIDTH, HEIGHT, VIEWS)
    layout = GeneralScans(testpath)
    confidence = np.full((HEIGHT, WIDTH), 0.9, np.float32)
    confidence[:UNSURE_ROWS] = 0.01
    for scan in scans:
        folder = outdir / scan
        for name in ("cams", "images"):
            shutil.copytree(testpath / scan / name, folder / name)
        for view in range(VIEWS):
            depth = layout.ground_truth(scan, view, (WIDTH, HEIGHT))
            write_pfm(folder / "depth_est" / f"{view:08d}.pfm", depth)
            write_pfm(folder / "confidence" / f"{view:08d}.pfm", confidence)
        write_json(folder / "prediction.json", SETTINGS)
        ply = outdir / "gipuma_pcd" / cloud_name(scan)
        fuse_scan_with_filter(folder, layout.pair_path(scan), ply, 0.05, normal_check(thres_view=2))
    return testpath, outdir

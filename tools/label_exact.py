"""Pseudo-labels from exact depth, for scenes that have it: rendered ones, or to see what perfect labels would give.

    python tools/label_exact.py --testpath SCENES --outdir LABELS

Writes checked_depth/ (the depth, 0 where it is unknown) and fused_sigma/ (--sigma of the camera file's depth intervals)
per scan, as tools/check_and_encode.py does, for train_kd.py --pseudopath. Images above --max_w x --max_h are scaled by
both programs alike, so give both the same sizes.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

if not __package__:  # run as a file: find the packages beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.files import DataError, check_scan_name
from datasets.io import write_pfm
from datasets.mvs import MVSDataset, Settings, open_dataset
from tools.check_and_encode import depth_label_path
from tools.flags import add_dataset_flag, add_size_flags
from tools.program import Formatter, Progress, positive_float, run_program


def write_exact_labels(dataset: MVSDataset, sigma: float, outdir: Path) -> None:
    """Labels of every reference view of the dataset; raises DataError where a view's depth is not known."""
    progress = Progress(len(dataset), "exact labels")
    for index, entry in enumerate(dataset.entries):
        depth = dataset.layout.ground_truth(entry.scan, entry.reference, dataset.view_keys(index)[0].size)
        if depth is None:
            raise DataError(f"{dataset.layout.root}: {entry.scan} has no exact depth for view {entry.reference}")
        interval = dataset.layout.camera(entry.scan, entry.reference).depth_line[1]
        spread = np.where(depth > 0, np.float32(sigma * interval), np.float32(0))
        path = depth_label_path(outdir / entry.scan, entry.reference)
        write_pfm(outdir / entry.scan / "fused_sigma" / path.name, spread)
        write_pfm(path, depth)
        progress.step()
    progress.close()


def main() -> None:
    """Parse the flags and write the labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add_dataset_flag(parser, "general_eval")
    parser.add_argument("--testpath", required=True, help="folder of scans with exact depth")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--outdir", type=Path, required=True, help="folder for the labels, one subfolder per scan")
    parser.add_argument("--sigma", type=positive_float, default=0.4, help="standard deviation, in depth intervals")
    add_size_flags(parser, 640, 512)
    args = parser.parse_args()
    settings = Settings(views=2, max_size=(args.max_w, args.max_h), ground_truth=True)
    dataset = open_dataset(args.dataset, args.testpath, args.testlist, settings)
    for scan in dict.fromkeys(entry.scan for entry in dataset.entries):
        check_scan_name(scan, args.testpath)
    write_exact_labels(dataset, args.sigma, args.outdir)


if __name__ == "__main__":
    run_program(main)

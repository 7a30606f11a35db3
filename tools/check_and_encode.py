"""Pseudo-labels from predictions: cross-view check and probabilistic encoding (specs: kdmvs, section 4).

For every view the depths of the other views that agree with it become a mean (mu) and a standard deviation (sigma):

    python tools/check_and_encode.py --testpath predictions --pairpath dtu_training --outdir labels

Writes per scan checked_depth/ (mu, PFM), fused_sigma/ (sigma, PFM), previews of both (PNG) and
mask/*_{photo,geo,final}.png; mu and sigma are 0 where a pixel is not kept. Views that are finished are skipped on a
rerun, so an interrupted run continues; other settings or predictions start anew. Uses all cores of a machine, and
several machines with torchrun (tools.runtime.distributed).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

import _checkout  # noqa: F401

from datasets.files import read_json
from datasets.io import Pairs
from datasets.results import PREDICTION_RECORD, Predictions, find_pair_file, find_scans
from fusion.consistency import Check, dynamic_check, normal_check
from fusion.labels import RECORD, RESULT_FOLDERS, finished_share, write_labels
from tools.runtime import distributed
from tools.runtime.program import Formatter, Progress, finite_float, natural_int, run_program
from tools.runtime.records import begin_results


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags, with the official names and defaults."""
    parser = argparse.ArgumentParser(
        prog="python tools/check_and_encode.py", description=__doc__, formatter_class=Formatter
    )
    add = parser.add_argument
    add("--testpath", type=Path, required=True, help="folder of predictions: <scan>/{depth_est,confidence,cams}")
    add("--pairpath", type=Path, required=True, help="pair file, or folder with Cameras/pair.txt or <scan>/pair.txt")
    add("--testlist", default="all", help="file with one scan name per line, or 'all' for every predicted scan")
    add("--outdir", type=Path, required=True, help="folder for the labels, one subfolder per scan")
    add("--conf", type=finite_float, default=0.05, help="keep pixels with a photometric confidence above this, 0 to 1")
    add("--reproject_dist", type=finite_float, default=1.0, help="normal check: largest reprojection error in pixels")
    add(
        "--depth_diff",
        type=finite_float,
        default=0.005,
        help="normal check: largest difference of depth, relative to it",
    )
    add("--thres_view", type=natural_int, default=5, help="normal check: least number of source views that agree")
    add("--check", choices=("normal", "dynamic"), default="normal", help="kind of check; dynamic has its own levels")
    return parser.parse_args(argv)


def main() -> None:
    """Check and encode every scan of the list."""
    args = parse_args()
    distributed.start("cpu")
    check = dynamic_check()
    if args.check == "normal":
        check = normal_check(args.reproject_dist, args.depth_diff, args.thres_view)
    scans = find_scans(args.testpath, args.testlist)
    pairs = {scan: read_scan_pairs(args, scan) for scan in scans}
    if distributed.is_main():
        for scan in scans:
            settings = label_settings(args, check, scan, pairs[scan])
            begin_results(args.outdir / scan, RECORD, settings, RESULT_FOLDERS)
    distributed.barrier()

    mine = {scan: distributed.share(pairs[scan]) for scan in scans}
    progress = Progress(sum(map(len, mine.values())), "check and encode", quiet=not distributed.is_main())
    kept = []
    for scan in scans:
        predictions = Predictions(args.testpath / scan)
        for reference, sources in mine[scan]:
            share = finished_share(args.outdir / scan, reference)
            if share is None:
                share = write_labels(predictions, reference, sources, check, args.conf, args.outdir / scan)
            kept.append(share)
            progress.step(f"{scan} view {reference}: {share:.1%} kept")
    progress.close()

    total = distributed.sum_over_ranks(torch.tensor([sum(kept), len(kept)], dtype=torch.float64))
    if distributed.is_main():
        print(f"kept {total[0] / total[1]:.2%} of the pixels, mean over {int(total[1])} views, in {args.outdir}")
        if total[0] == 0:
            print(
                "warning: without a labelled pixel a student learns nothing. Train the teacher for longer, or loosen "
                "the check (--thres_view, --conf)",
                file=sys.stderr,
            )
    distributed.finish()


def read_scan_pairs(args: argparse.Namespace, scan: str) -> Pairs:
    """The scan's views and their sources, all of them predicted."""
    return Predictions(args.testpath / scan).checked_pairs(find_pair_file(args.pairpath, scan))


def label_settings(args: argparse.Namespace, check: Check, scan: str, pairs: Pairs) -> dict:
    """What the labels of a scan depend on. Predictions are told apart by their own record, else by where they are."""
    record = args.testpath / scan / PREDICTION_RECORD
    return {
        "check": args.check,
        "conf": args.conf,
        "pixel_thresholds": list(check.pixel_thresholds),
        "depth_thresholds": list(check.depth_thresholds),
        "required": list(check.required),
        "pairs": [[reference, sources] for reference, sources in pairs],
        "predictions": read_json(record) if record.exists() else str(record.parent.resolve()),
    }


if __name__ == "__main__":
    run_program(main)

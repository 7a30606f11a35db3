"""Pseudo-labels from predictions: cross-view check and probabilistic encoding (specs: kdmvs, section 4).

For every view the depths of the other views that agree with it become a mean (mu) and a standard deviation (sigma):

    python tools/check_and_encode.py --testpath predictions --pairpath dtu_training --outdir labels

Writes per scan checked_depth/ (mu, PFM), fused_sigma/ (sigma, PFM), previews of both (PNG) and
mask/*_{photo,geo,final}.png; mu and sigma are 0 where a pixel is not kept. Views that are finished are skipped on a
rerun, so an interrupted run continues; other settings or predictions start anew. Uses all cores of a machine, and
several machines with torchrun (tools.distributed).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

if not __package__:  # run as a file: find the packages beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.files import DataError, check_scan_name, list_folder, read_json, read_scan_list
from datasets.io import Pairs, colour_map, read_image, write_image, write_pfm
from fusion.consistency import Check, dynamic_check, normal_check
from fusion.filters import check_prediction
from fusion.predictions import PREDICTION_RECORD, Predictions
from tools import distributed
from tools.program import Formatter, Progress, begin_results, run_program

RECORD = "check_and_encode.json"
RESULT_FOLDERS = ("checked_depth", "fused_sigma", "mask")


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
    add("--conf", type=float, default=0.05, help="keep pixels with a photometric confidence above this, 0 to 1")
    add("--reproject_dist", type=float, default=1.0, help="normal check: largest reprojection error in pixels")
    add("--depth_diff", type=float, default=0.005, help="normal check: largest difference of depth, relative to it")
    add("--thres_view", type=int, default=5, help="normal check: least number of source views that agree")
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


def find_scans(testpath: Path, testlist: str) -> list[str]:
    """Scan names of the list file, or of every folder with predictions."""
    if testlist != "all":
        return read_scan_list(testlist)
    scans = [name for name in list_folder(testpath) if (testpath / name / "depth_est").is_dir()]
    if not scans:
        raise DataError(f"{testpath}: has no folder with predictions (<scan>/depth_est); predict first")
    return [check_scan_name(scan, testpath) for scan in scans]


def read_scan_pairs(args: argparse.Namespace, scan: str) -> Pairs:
    """The scan's views and their sources, all of them predicted."""
    return Predictions(args.testpath / scan).checked_pairs(find_pair_file(args.pairpath, scan))


def find_pair_file(pairpath: Path, scan: str) -> Path:
    """The pair file itself, or that of the DTU training, the test or the BlendedMVS layout (specs: formats)."""
    if pairpath.is_file():
        return pairpath
    names = ("Cameras/pair.txt", f"{scan}/pair.txt", f"{scan}/cams/pair.txt")
    for name in names:
        if (pairpath / name).is_file():
            return pairpath / name
    raise DataError(f"{pairpath}: is no pair file and holds none ({', '.join(names)})")


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


def depth_label_path(folder: Path, view: int) -> Path:
    """The file that is written last, so that it marks a finished view."""
    return folder / "checked_depth" / f"{view:08d}.pfm"


def finished_share(folder: Path, view: int) -> float | None:
    """Kept share of the pixels of a finished view, from its small mask; None when it is not finished."""
    mask = folder / "mask" / f"{view:08d}_final.png"
    if depth_label_path(folder, view).exists() and mask.exists():
        return float((read_image(mask)[..., 0] > 0).mean())
    return None


def write_labels(
    predictions: Predictions, reference: int, sources: list[int], check: Check, conf: float, folder: Path
) -> float:
    """Check one view, write its files, return the kept share of its pixels."""
    agreement = check_prediction(predictions, reference, sources, check)
    confident = predictions.confidence(reference) > conf
    kept = agreement.passed & confident
    name = f"{reference:08d}"
    for kind, mask in (("photo", confident), ("geo", agreement.passed), ("final", kept)):
        write_image(folder / "mask" / f"{name}_{kind}.png", mask.astype(np.uint8) * 255)
    mu = np.where(kept, agreement.mean, np.float32(0))
    sigma = np.where(kept, agreement.sigma, np.float32(0))
    write_image(folder / "checked_depth" / f"{name}.png", colour_map(mu))
    write_image(folder / "fused_sigma" / f"{name}.png", colour_map(sigma))
    write_pfm(folder / "fused_sigma" / f"{name}.pfm", sigma)
    write_pfm(depth_label_path(folder, reference), mu)
    return float(kept.mean())


if __name__ == "__main__":
    run_program(main)

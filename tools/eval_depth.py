"""Depth errors against known depth, for one or several predictions of the same scans.

    python tools/eval_depth.py --testpath SCENES --predictions teacher=OUT_A student=OUT_B --picture depth.png

The scans are in the test layout with gt/%08d.pfm; the predictions are --outdir folders of test.py or tools/predict.py.
Pixels count where the true depth is positive. Errors are in the unit of the camera files (mm on DTU).
"""

import argparse
import sys
from pathlib import Path

import numpy as np

if not __package__:  # run as a file: find the packages beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.files import DataError, write_json
from datasets.general import GeneralScans
from datasets.io import read_pfm, write_image
from tools.pictures import depth_sheet
from tools.predict import view_path
from tools.program import Formatter, float_list, run_program


def view_errors(layout: GeneralScans, outdir: Path, scan: str, view: int) -> np.ndarray | None:
    """Absolute errors [M] of a view's predicted depth where the truth is known; None when there is no truth."""
    path = view_path(outdir, scan, "depth_est", view, ".pfm")
    depth = read_pfm(path)
    truth = layout.ground_truth(scan, view, depth.shape[::-1])
    if truth is None:
        return None
    return np.abs(depth - truth)[truth > 0]


def depth_metrics(layout: GeneralScans, outdir: Path, scans: list[str], thresholds: tuple[float, ...]) -> dict:
    """Mean and median error and the share of pixels within each threshold, over all views of the scans."""
    errors = []
    for scan in scans:
        for view, sources in layout.pairs(scan):
            error = view_errors(layout, outdir, scan, view) if sources else None
            if error is not None:
                errors.append(error)
    if not errors:
        raise DataError(f"{layout.root}: no ground truth (gt/%08d.pfm) to compare with")
    pooled = np.concatenate(errors)
    within = {f"within_{t:g}": float((pooled <= t).mean()) for t in thresholds}
    return {"mean": float(pooled.mean()), "median": float(np.median(pooled)), **within, "pixels": len(pooled)}


def format_table(rows: dict[str, dict[str, float]]) -> str:
    """The metrics as an aligned table, one row per prediction."""
    columns = [name for name in next(iter(rows.values())) if name != "pixels"]
    lines = ["".ljust(12) + "".join(name.replace("_", " ").rjust(12) for name in columns)]
    for label, metrics in rows.items():
        cells = (f"{metrics[c]:.1%}" if c.startswith("within") else f"{metrics[c]:.2f}" for c in columns)
        lines.append(label.ljust(12) + "".join(cell.rjust(12) for cell in cells))
    return "\n".join(lines)


def named_folder(text: str) -> tuple[str, Path]:
    """`label=folder`, or a folder whose name is the label."""
    label, _, folder = text.rpartition("=")
    path = Path(folder)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: no such folder")
    return label or path.name, path


def main() -> None:
    """Parse the flags, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--testpath", required=True, help="folder of scans with gt/")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--predictions", nargs="+", type=named_folder, required=True, help="label=folder ...")
    parser.add_argument("--thresholds", type=float_list, default="2,4,8", help="error bounds, unit of the depth")
    parser.add_argument("--out", help="write the numbers to this JSON file")
    parser.add_argument("--picture", help="write a sheet of depth and error pictures to this PNG file")
    args = parser.parse_args()
    layout = GeneralScans(args.testpath)
    scans = layout.scans(args.testlist)
    predictions = dict(args.predictions)
    rows = {label: depth_metrics(layout, folder, scans, args.thresholds) for label, folder in predictions.items()}
    print(format_table(rows))
    if args.out:
        write_json(args.out, rows)
    if args.picture:
        write_image(args.picture, depth_sheet(layout, predictions, scans))
        print(f"pictures: {args.picture}")


if __name__ == "__main__":
    run_program(main)

"""Depth errors against known depth, for one or several predictions of the same scans.

    python tools/eval_depth.py --testpath SCENES --predictions teacher=OUT_A student=OUT_B --picture depth.png
    python tools/eval_depth.py --testpath SCENES --predictions OUT --relative 0.01,0.05 --curve

The scans are in the test layout with gt/%08d.pfm or depth/%08d.png (16 bits, whole units, 0 where unknown); the
predictions are --outdir folders of test.py or tools/predict.py. Pixels count where the true depth is positive; where it
is of another size than the prediction, its nearest pixels are taken. Errors are in the unit of the camera files (mm on
DTU). A pixel without a predicted depth (0, negative, NaN, infinite) counts as depth 0, so its error is the whole true
depth; the share of such pixels is "missing".

--curve keeps the pixels of at least a confidence (NaN counts as 0) that have a predicted depth: the share of the true
depths that is kept ("completeness"), and the errors of these.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np

if not __package__:  # run as a file: find the packages beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.files import DataError, write_json
from datasets.general import GeneralScans
from datasets.io import write_image
from fusion.predictions import read_map
from tools.pictures import depth_sheet
from tools.predict import view_path
from tools.program import Formatter, float_list, run_program

CURVE = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Pixels of known depth: truth and predicted depth [M] (0: there is none), and confidence [M] where it was read."""

    truth: np.ndarray
    depth: np.ndarray
    confidence: np.ndarray | None = None

    def __getitem__(self, selected: np.ndarray) -> "Pixels":
        return Pixels(self.truth[selected], self.depth[selected])


def read_pixels(layout: GeneralScans, outdir: Path, scans: list[str], confidence: bool = False) -> Pixels:
    """The pixels of all views of the scans; raises DataError where no depth is known, or a map is missing."""
    parts = []
    for scan in scans:
        for view, sources in layout.pairs(scan):
            part = _view_pixels(layout, outdir, scan, view, confidence) if sources else None
            if part is not None:
                parts.append(part)
    if sum(len(truth) for truth, *_ in parts) == 0:
        raise DataError(f"{layout.root}: no ground truth (gt/%08d.pfm or depth/%08d.png) to compare with")
    return Pixels(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _view_pixels(layout: GeneralScans, outdir: Path, scan: str, view: int, confidence: bool) -> list | None:
    """A view's truth, depth and, where wanted, confidence; None when its depth is not known."""
    depth = read_map(view_path(outdir, scan, "depth_est", view, ".pfm"))
    truth = layout.ground_truth(scan, view, depth.shape[::-1])
    if truth is None:
        return None
    maps = [truth, np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))]
    if confidence:
        path = view_path(outdir, scan, "confidence", view, ".pfm")
        maps.append(np.nan_to_num(read_map(path)))
        if maps[-1].shape != depth.shape:
            raise DataError(f"{path}: differs in size from the view's depth map; predict this view again")
    return [values[truth > 0] for values in maps]


def error_metrics(pixels: Pixels, thresholds: tuple[float, ...], relative: tuple[float, ...] = ()) -> dict:
    """Mean and median error and the share of pixels within each threshold; None of them (null) without a pixel.

    `relative` are thresholds on the error divided by the true depth; with any, the mean of it is told too.
    """
    error = np.abs(pixels.depth - pixels.truth)
    metrics = {"mean": _mean(error), "median": float(np.median(error)) if len(error) else None}
    metrics |= {f"within_{t:g}": _mean(error <= t) for t in thresholds}
    if relative:
        ratio = error / pixels.truth
        metrics["mean_relative"] = _mean(ratio)
        metrics |= {f"within_{100 * t:g}%": _mean(ratio <= t) for t in relative}
    return metrics


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean(dtype=np.float64)) if len(values) else None


def depth_metrics(
    layout: GeneralScans,
    outdir: Path,
    scans: list[str],
    thresholds: tuple[float, ...],
    relative: tuple[float, ...] = (),
    curve: tuple[float, ...] = (),
) -> dict:
    """The errors over all pixels of the scans, the number of pixels, and the share without a predicted depth.

    With confidence thresholds in `curve` also "curve": for each of them the errors of the pixels it keeps.
    """
    pixels = read_pixels(layout, outdir, scans, confidence=bool(curve))
    metrics = error_metrics(pixels, thresholds, relative)
    metrics |= {"pixels": len(pixels.truth), "missing": float((pixels.depth == 0).mean())}
    if curve:
        metrics["curve"] = [_curve_point(pixels, least, thresholds, relative) for least in curve]
    return metrics


def _curve_point(pixels: Pixels, least: float, thresholds: tuple[float, ...], relative: tuple[float, ...]) -> dict:
    """Completeness and errors of the pixels with a depth of at least some confidence, compared in float32 as it is."""
    kept = (pixels.depth > 0) & (pixels.confidence >= np.float32(least))
    completeness = {"confidence": least, "completeness": float(kept.mean())}
    return completeness | error_metrics(pixels[kept], thresholds, relative)


def format_table(rows: dict[str, dict[str, float]]) -> str:
    """The metrics as an aligned table, one row per prediction; missing pixels are shown where there are some."""
    hidden = {"pixels", "curve"} if any(row.get("missing") for row in rows.values()) else {"pixels", "curve", "missing"}
    columns = [name for name in next(iter(rows.values())) if name not in hidden]
    width = max(12, *(len(name) + 2 for name in columns))
    lines = ["".ljust(12) + "".join(name.replace("_", " ").rjust(width) for name in columns)]
    for label, metrics in rows.items():
        lines.append(label.ljust(12) + "".join(_cell(name, metrics[name]).rjust(width) for name in columns))
    return "\n".join(lines)


def _cell(name: str, value: float | None) -> str:
    """A number as the table shows it: shares and relative errors in per cent."""
    if value is None:
        return "-"
    is_share = name.startswith("within") or name in ("missing", "completeness", "mean_relative")
    return f"{value:.2%}" if name == "mean_relative" else f"{value:.1%}" if is_share else f"{value:.2f}"


def format_curve(curve: list[dict]) -> str:
    """A prediction's curve as an aligned table, one row per confidence threshold."""
    rows = {f"{point['confidence']:g}": {k: v for k, v in point.items() if k != "confidence"} for point in curve}
    return format_table(rows)


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
    parser.add_argument("--testpath", required=True, help="folder of scans with gt/ or depth/")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument("--predictions", nargs="+", type=named_folder, required=True, help="label=folder ...")
    parser.add_argument("--thresholds", type=float_list, default="2,4,8", help="error bounds, unit of the depth")
    parser.add_argument("--relative", type=float_list, default="", help="error bounds as shares of the true depth")
    parser.add_argument(
        "--curve", type=float_list, nargs="?", const=CURVE, default="", help="confidence thresholds of the curve"
    )
    parser.add_argument("--out", help="write the numbers to this JSON file")
    parser.add_argument("--picture", help="write a sheet of depth and error pictures to this PNG file")
    args = parser.parse_args()
    layout = GeneralScans(args.testpath)
    scans = layout.scans(args.testlist)
    predictions = dict(args.predictions)
    settings = (scans, args.thresholds, args.relative, args.curve)
    rows = {label: depth_metrics(layout, folder, *settings) for label, folder in predictions.items()}
    print(format_table(rows))
    if args.curve:
        for label, metrics in rows.items():
            print(f"\n{label}: pixels of at least a confidence\n{format_curve(metrics['curve'])}")
    if args.out:
        write_json(args.out, rows)
    if args.picture:
        write_image(args.picture, depth_sheet(layout, predictions, scans))
        print(f"pictures: {args.picture}")


if __name__ == "__main__":
    run_program(main)

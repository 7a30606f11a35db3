"""Depth errors against known depth, for one or several predictions of the same scans.

    python tools/eval_depth.py --testpath SCENES --predictions teacher=OUT_A student=OUT_B --picture depth.png
    python tools/eval_depth.py --testpath SCENES --predictions OUT --relative 0.01,0.05 --curve

The scans are in the test layout with gt/%08d.pfm or depth/%08d.png (16 bits, whole units, 0 where unknown); the
predictions are --outdir folders of test.py, tools/predict.py or tools/zncc_sweep.py. Pixels count where the true depth
is positive; where it is of another size than the prediction, its nearest pixels are taken. Errors are in the unit of
the camera files (mm on DTU). A pixel without a predicted depth (0, negative, NaN, infinite) counts as depth 0, so its
error is the whole true depth; the share of such pixels is "missing".

A scan without these maps may have sparse_points.txt, points of its surface (x y z a line, world units). They are
projected into every view at the size of its prediction; of those in a cell of --cell x --cell pixels the one nearest to
the camera counts, against the predicted depth of the pixel that is nearest to it. Triangulated points may be wrong:
--isolated 0.2 leaves out the fifth of them that is farthest from its neighbours.

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
from datasets.general import GeneralScans, SurfacePoints
from datasets.io import write_image
from fusion.predictions import read_map
from tools.pictures import depth_sheet
from tools.predict import view_path
from tools.program import Formatter, float_list, positive_int, run_program, share

CURVE = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Pixels of known depth: truth and predicted depth [M] (0: there is none), and confidence [M] where it was read."""

    truth: np.ndarray
    depth: np.ndarray
    confidence: np.ndarray | None = None

    def __getitem__(self, selected: np.ndarray) -> "Pixels":
        return Pixels(self.truth[selected], self.depth[selected])


def known_depth(
    layout: GeneralScans, scan: str, view: int, size: tuple[int, int], kept: SurfacePoints = SurfacePoints()
) -> np.ndarray | None:
    """A view's true depth [H, W] at `size` (width, height), 0 where unknown: its map, else the scan's points."""
    truth = layout.ground_truth(scan, view, size)
    return layout.depth_of_points(scan, view, size, kept) if truth is None else truth


def read_pixels(
    layout: GeneralScans,
    outdir: Path,
    scans: list[str],
    confidence: bool = False,
    kept: SurfacePoints = SurfacePoints(),
) -> Pixels:
    """The pixels of all views of the scans; raises DataError where no depth is known, or a map is missing."""
    parts = []
    for scan in scans:
        for view, sources in layout.pairs(scan):
            part = _view_pixels(layout, outdir, scan, view, confidence, kept) if sources else None
            if part is not None:
                parts.append(part)
    if sum(len(truth) for truth, *_ in parts) == 0:
        raise DataError(
            f"{layout.root}: no ground truth (gt/%08d.pfm, depth/%08d.png or sparse_points.txt) to compare with"
        )
    return Pixels(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _view_pixels(
    layout: GeneralScans, outdir: Path, scan: str, view: int, confidence: bool, kept: SurfacePoints
) -> list | None:
    """A view's truth, depth and, where wanted, confidence; None when its depth is not known."""
    depth = read_map(view_path(outdir, scan, "depth_est", view, ".pfm"))
    truth = known_depth(layout, scan, view, depth.shape[::-1], kept)
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

    `relative` are thresholds on the error divided by the true depth; with any, its mean and median are told too.
    """
    error = np.abs(pixels.depth - pixels.truth)
    metrics = {"mean": _mean(error), "median": _median(error)}
    metrics |= {f"within_{t:g}": _mean(error <= t) for t in thresholds}
    if relative:
        ratio = error / pixels.truth
        metrics["mean_relative"] = _mean(ratio)
        metrics["median_relative"] = _median(ratio)
        metrics |= {f"within_{100 * t:g}%": _mean(ratio <= t) for t in relative}
    return metrics


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean(dtype=np.float64)) if len(values) else None


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None


def depth_metrics(
    layout: GeneralScans,
    outdir: Path,
    scans: list[str],
    thresholds: tuple[float, ...],
    relative: tuple[float, ...] = (),
    curve: tuple[float, ...] = (),
    kept: SurfacePoints = SurfacePoints(),
) -> dict:
    """The errors over all pixels of the scans, the number of pixels, and the share without a predicted depth.

    With confidence thresholds in `curve` also "curve": for each of them the errors of the pixels it keeps.
    """
    pixels = read_pixels(layout, outdir, scans, bool(curve), kept)
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
    """The metrics as an aligned table, one row per prediction; missing pixels are shown where there are some.

    Without bounds on the absolute error, but with some on the relative one, only the relative errors are shown.
    """
    hidden = {"pixels", "curve"} if any(row.get("missing") for row in rows.values()) else {"pixels", "curve", "missing"}
    names = list(next(iter(rows.values())))
    if "mean_relative" in names and not any(name.startswith("within") and name[-1] != "%" for name in names):
        hidden |= {"mean", "median"}
    columns = [name for name in names if name not in hidden]
    width, first = max(12, *(len(name) + 2 for name in columns)), max(12, *(len(label) + 2 for label in rows))
    lines = ["".ljust(first) + "".join(name.replace("_", " ").rjust(width) for name in columns)]
    for label, metrics in rows.items():
        lines.append(label.ljust(first) + "".join(metric_cell(name, metrics[name]).rjust(width) for name in columns))
    return "\n".join(lines)


def metric_cell(name: str, value: float | None) -> str:
    """A metric as tables show it: shares and relative errors in per cent."""
    if value is None:
        return "-"
    if name.endswith("relative"):
        return f"{value:.2%}"
    return f"{value:.1%}" if name.startswith("within") or name in ("missing", "completeness") else f"{value:.2f}"


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
    parser.add_argument("--thresholds", type=float_list, default="2,4,8", help="error bounds, unit of the depth, or ''")
    parser.add_argument("--relative", type=float_list, default="", help="error bounds as shares of the true depth")
    parser.add_argument(
        "--curve", type=float_list, nargs="?", const=CURVE, default="", help="confidence thresholds of the curve"
    )
    points = SurfacePoints()
    parser.add_argument("--cell", type=positive_int, default=points.cell, help="side of a cell of points, pixels")
    parser.add_argument("--isolated", type=share, default=points.isolated, help="share of points that is left out")
    parser.add_argument("--by_scan", action="store_true", help="a row for every scan and prediction")
    parser.add_argument("--out", help="write the numbers to this JSON file")
    parser.add_argument("--picture", help="write a sheet of depth and error pictures to this PNG file")
    args = parser.parse_args()
    layout = GeneralScans(args.testpath)
    scans = layout.scans(args.testlist)
    predictions = dict(args.predictions)
    settings = (args.thresholds, args.relative, args.curve, SurfacePoints(args.cell, args.isolated))
    groups = {f"{scan} ": [scan] for scan in scans} if args.by_scan else {"": scans}
    rows = {
        name + label: depth_metrics(layout, folder, group, *settings)
        for name, group in groups.items()
        for label, folder in predictions.items()
    }
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

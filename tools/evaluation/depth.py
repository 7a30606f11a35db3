"""Depth errors of predicted scans against known depth."""

import dataclasses
from pathlib import Path

import numpy as np

from datasets.files import DataError
from datasets.layouts.base import Layout
from datasets.layouts.general import GeneralScans, SurfacePoints
from datasets.predictions import read_map
from datasets.results import ViewFiles


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Pixels of known depth: truth and predicted depth [M] (0: there is none), and confidence [M] where it was read."""

    truth: np.ndarray
    depth: np.ndarray
    confidence: np.ndarray | None = None

    def __getitem__(self, selected: np.ndarray) -> "Pixels":
        return Pixels(self.truth[selected], self.depth[selected])


def known_depth(
    layout: Layout, scan: str, view: int, size: tuple[int, int], kept: SurfacePoints = SurfacePoints()
) -> np.ndarray | None:
    """A view's true depth [H, W] at `size` (width, height), 0 where unknown: its map, else the scan's points where the
    layout has some; None when it is not known."""
    truth = layout.ground_truth(scan, view, size)
    if truth is None and isinstance(layout, GeneralScans):
        return layout.depth_of_points(scan, view, size, kept)
    return truth


def read_pixels(
    layout: Layout,
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
            f"{layout.root}: no ground truth (in the test layout gt/%08d.pfm, depth/%08d.png or sparse_points.txt) to "
            "compare with"
        )
    return Pixels(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _view_pixels(
    layout: Layout, outdir: Path, scan: str, view: int, confidence: bool, kept: SurfacePoints
) -> list | None:
    """A view's truth, depth and, where wanted, confidence; None when its depth is not known."""
    files = ViewFiles(outdir / scan, view)
    depth = read_map(files.depth)
    truth = known_depth(layout, scan, view, depth.shape[::-1], kept)
    if truth is None:
        return None
    maps = [truth, np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))]
    if confidence:
        maps.append(np.nan_to_num(read_map(files.confidence)))
        if maps[-1].shape != depth.shape:
            raise DataError(f"{files.confidence}: differs in size from the view's depth map; predict this view again")
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
    layout: Layout,
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

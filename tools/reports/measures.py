"""The numbers of a result: errors where the depth is known, shares that pass the check, and points."""

import dataclasses

import numpy as np

from datasets.formats.ply import read_ply_count
from tools.evaluation.depth import Pixels, error_metrics
from tools.evaluation.scan_results import ScanResult
from tools.reports.curves import Series, nice_above
from tools.reports.kept import KeptPixels

# The error scale ends where errors are plainly wrong rather than inexact: at so many times the median error.
_MEDIANS = 4.0
_CURVE_POINTS = 60


@dataclasses.dataclass(frozen=True)
class ViewMeasures:
    """A view's size (width, height), the share of its pixels that the check keeps, and its pixels of known depth."""

    view: int
    size: tuple[int, int]
    kept: float
    pixels: Pixels | None


@dataclasses.dataclass(frozen=True)
class ScanMeasures:
    """A scan's views, the number of points of its cloud (None: there is no cloud), and how the kept pixels were chosen.

    photos: the name of the photo of each view, as far as it is known.
    """

    scan: str
    views: list[ViewMeasures]
    points: int | None
    check_note: str
    photos: dict[int, str]

    def title(self, view: int) -> str:
        """What a view is called: as its photo, or by its number."""
        return self.photos.get(view, f"View {view}")

    @property
    def kept(self) -> float:
        """Mean share of the pixels that the check keeps."""
        return float(np.mean([view.kept for view in self.views]))


def measure_scan(result: ScanResult, kept: KeptPixels) -> ScanMeasures:
    """Look at every view of a scan."""
    views = []
    for view in result.views:
        confirmed, confident = kept.masks(view)
        depth, truth = result.depth(view), result.truth(view)
        pixels = None
        if truth is not None:
            confidence = np.nan_to_num(result.predictions.confidence(view))
            pixels = Pixels(*(values[truth > 0] for values in (truth, depth, confidence)))
        views.append(ViewMeasures(view, depth.shape[::-1], float((confirmed & confident).mean()), pixels))
    points = read_ply_count(result.cloud_path) if result.cloud_path.exists() else None
    return ScanMeasures(result.name, views, points, kept.words, result.photos)


def pooled(scans: list[ScanMeasures]) -> Pixels | None:
    """The pixels of known depth of all views; None where no depth is known."""
    parts = [view.pixels for scan in scans for view in scan.views if view.pixels is not None]
    if not parts:
        return None
    lists = ([part.truth for part in parts], [part.depth for part in parts], [part.confidence for part in parts])
    return Pixels(*map(np.concatenate, lists))


def error_limit(pixels: Pixels | None) -> float:
    """A round end for the colour scale of errors."""
    median = float(np.median(np.abs(pixels.depth - pixels.truth))) if pixels is not None else 0.0
    return nice_above(_MEDIANS * median) if median > 0 else 1.0


def metrics(pixels: Pixels | None, thresholds: tuple[float, ...]) -> dict[str, float | None]:
    """Errors as tools/eval_depth.py computes them; nothing where no depth is known."""
    return {} if pixels is None else error_metrics(pixels, thresholds)


def error_shares(name: str, pixels: Pixels, limit: float) -> Series:
    """The share of the pixels, in per cent, whose error is at most x, for x up to the limit."""
    errors = np.sort(np.abs(pixels.depth - pixels.truth))
    at = np.linspace(0, limit, _CURVE_POINTS)
    return Series(name, np.stack([at, 100 * np.searchsorted(errors, at, side="right") / len(errors)], axis=1))


def errors_by_confidence(name: str, pixels: Pixels) -> Series:
    """The mean error of the most confident x per cent of the pixels; it rises where confidence tells errors."""
    errors = np.abs(pixels.depth - pixels.truth)[np.argsort(-pixels.confidence, kind="stable")]
    first = len(errors) / _CURVE_POINTS
    counts = np.unique(np.linspace(first, len(errors), _CURVE_POINTS).round().astype(int).clip(1))
    means = np.cumsum(errors, dtype=np.float64)[counts - 1] / counts
    return Series(name, np.stack([100 * counts / len(errors), means], axis=1))

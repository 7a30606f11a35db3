"""The page that compares depth: a table for each scene, and the errors of the most confident pixels."""

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from tools.evaluation.depth import Pixels, error_metrics, metric_cell
from tools.reports.curves import Series, chart
from tools.reports.render import render_page

# Curves that one chart can tell apart.
_MOST_SERIES = 6
_CURVE_POINTS = 60

_NOTE = (
    "Errors are relative to the true depth. Curves: of the pixels of known depth the most confident share, "
    "and the error of these. A pixel without depth has an error of 100 %. A curve of one point tells no confidence."
)


def depth_page(title: str, scenes: Mapping[str, Mapping[str, Pixels]], relative: tuple[float, ...]) -> bytes:
    """The page of scenes and, in each, the pixels of named predictions, with confidence; `relative` are thresholds of
    the table."""
    shown = []
    for scene, predictions in scenes.items():
        metrics = {label: error_metrics(pixels, (), relative) for label, pixels in predictions.items()}
        names = [name for name in next(iter(metrics.values())) if name not in ("mean", "median")]
        rows = [[label, *(metric_cell(name, row[name]) for name in names)] for label, row in metrics.items()]
        head = ["", *(name.replace("_", " ") for name in names)]
        pixels = len(next(iter(predictions.values())).truth)
        shown.append({"name": scene, "head": head, "rows": rows, "pixels": pixels, "charts": _charts(predictions)})
    return render_page("depth.html", title, scenes=shown, note=_NOTE)


def _charts(predictions: Mapping[str, Pixels]) -> list[Markup]:
    """Mean and median error against the share of the pixels, of as many predictions as a chart can show."""
    labels, charts = list(predictions), []
    for first in range(0, len(labels), _MOST_SERIES):
        chosen = labels[first : first + _MOST_SERIES]
        for kind in ("mean", "median"):
            series = [errors_of_confident(label, predictions[label], kind) for label in chosen]
            charts.append(chart(f"{kind} relative error, %", series, "most confident pixels, %", y_from_zero=True))
    return charts


def errors_of_confident(name: str, pixels: Pixels, kind: str = "mean") -> Series:
    """The mean or median relative error, in per cent, of the most confident x per cent of the pixels.

    Pixels of one confidence are taken together: no order among them is made up.
    """
    confidence = np.where(pixels.depth > 0, pixels.confidence, -1)  # without depth, without confidence
    order = np.argsort(-confidence, kind="stable")
    errors, ranked = (np.abs(pixels.depth - pixels.truth) / pixels.truth)[order], confidence[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)) + 1, len(ranked))
    wanted = np.linspace(len(ranked) / _CURVE_POINTS, len(ranked), _CURVE_POINTS)
    counts = np.unique(ends[np.searchsorted(ends, wanted - 0.5).clip(max=len(ends) - 1)])
    if kind == "mean":
        values = np.cumsum(errors, dtype=np.float64)[counts - 1] / counts
    else:
        values = np.array([np.median(errors[:count]) for count in counts])
    return Series(name, 100 * np.stack([counts / len(ranked), values], axis=1))

"""Pseudo-labels against exact depth: how many pixels they have, and how wrong they are."""

from pathlib import Path

import numpy as np

from datasets.files import DataError
from datasets.formats.images import read_image_size
from datasets.layouts.base import Layout
from datasets.predictions import read_map
from datasets.results import LabelFiles
from tools.evaluation.depth import Pixels, error_metrics

Metrics = dict[str, float | None]


def label_metrics(layout: Layout, folder: Path, scans: list[str], relative: tuple[float, ...]) -> Metrics:
    """Over all views of the scans: "labelled", the share of the pixels of known depth that have a label; the errors of
    these; and "within_sigma", the share of them whose error is at most twice their standard deviation.

    Views without a label have none of their pixels labelled. Raises DataError where no depth is known.
    """
    parts: list[list[np.ndarray]] = []
    for scan in scans:
        for view, sources in layout.pairs(scan):
            part = _view_labels(layout, folder, scan, view) if sources else None
            if part is not None:
                parts.append(part)
    if not parts:
        raise DataError(f"{layout.root}: no ground truth to compare labels with")
    truth, mean, deviation = (np.concatenate(values) for values in zip(*parts, strict=True))
    kept = mean > 0
    metrics = error_metrics(Pixels(truth[kept], mean[kept]), (), relative)
    honest = np.abs(mean - truth)[kept] <= 2 * deviation[kept]
    own = {"labelled": float(kept.mean()), "within_sigma": float(honest.mean()) if len(honest) else None}
    return own | {name: value for name, value in metrics.items() if name not in ("mean", "median")}


def _view_labels(layout: Layout, folder: Path, scan: str, view: int) -> list[np.ndarray] | None:
    """A view's true depth, label and deviation where the depth is known; None where it is not known at all."""
    files = LabelFiles(folder / scan, view)
    mean = read_map(files.mean) if files.mean.exists() else None
    if mean is None:
        size = read_image_size(layout.image_path(scan, view, layout.lights(scan)[0]))
        truth = layout.ground_truth(scan, view, size)
        return None if truth is None else [truth[truth > 0], *(np.zeros((truth > 0).sum(), np.float32),) * 2]
    truth = layout.ground_truth(scan, view, mean.shape[::-1])
    if truth is None:
        return None
    return [values[truth > 0] for values in (truth, mean, read_map(files.deviation))]


def format_labels(rows: dict[str, Metrics]) -> str:
    """The metrics as an aligned table, one row for each set of labels."""
    names = list(next(iter(rows.values())))
    width, first = max(12, *(len(name) + 2 for name in names)), max(12, *(len(label) + 2 for label in rows))
    titles = {"within_sigma": "in 2 sigma"}
    lines = ["".ljust(first) + "".join(titles.get(name, name).replace("_", " ").rjust(width) for name in names)]
    for label, row in rows.items():
        lines.append(label.ljust(first) + "".join(_cell(name, row[name]).rjust(width) for name in names))
    return "\n".join(lines)


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2%}" if name.endswith("relative") else f"{value:.1%}"

"""Labels of several teachers for the same views become one set: a network's and a plane sweep's, say."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.files import DataError
from datasets.predictions import read_map
from datasets.records import digest, read_record
from datasets.results import LabelFiles, mapped_views
from fusion.labels import begin_labels, finished_share, write_label


class Label(NamedTuple):
    """A view's pseudo-label: mean and standard deviation [H, W], both 0 where there is none."""

    mean: np.ndarray
    deviation: np.ndarray


def labelled_views(folder: Path) -> list[int]:
    """The views that have a label in a scan's folder."""
    return mapped_views(LabelFiles(folder, 0).mean.parent)


def read_label(folder: Path, view: int) -> Label:
    """A view's label in a scan's folder; raises DataError where its maps are missing, damaged or of two sizes."""
    files = LabelFiles(folder, view)
    label = Label(read_map(files.mean), read_map(files.deviation))
    if label.mean.shape != label.deviation.shape:
        raise DataError(f"{files.deviation}: differs in size from {files.mean}; make this label again")
    return label


def merged(labels: Sequence[Label], agree: float, both: bool = False) -> Label:
    """One label of several of equal size.

    Where two differ by `agree` of the depth or more there is none. Elsewhere the mean is theirs, and the deviation that
    of an equal mixture. `both`: there is one only where all have one.
    """
    means, deviations = (np.stack([label[kind] for label in labels]) for kind in (0, 1))
    present = means > 0
    count = present.sum(axis=0)
    kept = count == len(labels) if both else count > 0
    highest, lowest = means.max(axis=0), np.where(present, means, np.inf).min(axis=0)
    kept &= (count == 1) | (highest - lowest < agree * lowest)
    total = np.maximum(count, 1).astype(np.float64)
    mean = means.sum(axis=0, dtype=np.float64) / total
    spread = np.where(present, deviations.astype(np.float64) ** 2 + (means - mean) ** 2, 0).sum(axis=0) / total
    return Label(*(np.where(kept, values, 0).astype(np.float32) for values in (mean, np.sqrt(spread))))


def merge_scan(folders: Sequence[Path], outdir: Path, agree: float, both: bool = False) -> dict[int, float]:
    """Merge the labels of a scan's folders view by view; returns each view's labelled share of the pixels.

    A view that one folder lacks has the labels of the others, none with `both`. Raises DataError for labels of
    different sizes.
    """
    views = sorted({view for folder in folders for view in labelled_views(folder)})
    settings = {"check": "merged", "agree": agree, "both": both}
    begin_labels(outdir, settings, {view: _origin(folders, view, settings) for view in views})
    shares = {}
    for view in views:
        shares[view] = finished_share(outdir, view)
        if shares[view] is None:
            label = _merged_view(folders, view, agree, both)
            shares[view] = write_label(outdir, view, *label, _origin(folders, view, settings))
    return shares


def _origin(folders: Sequence[Path], view: int, settings: dict[str, Any]) -> str:
    """Digest of all that a merged label is made from."""
    files = [LabelFiles(folder, view) for folder in folders]
    return digest(settings, [read_record(of.record).get("made_from") for of in files if of.mean.exists()])


def _merged_view(folders: Sequence[Path], view: int, agree: float, both: bool) -> Label:
    found = [read_label(folder, view) for folder in folders if LabelFiles(folder, view).mean.exists()]
    if len({label.mean.shape for label in found}) > 1:
        raise DataError(f"{folders[-1]}: its label of view {view} differs in size from that of {folders[0]}")
    if both and len(found) < len(folders):
        return Label(*(np.zeros_like(values) for values in found[0]))
    return merged(found, agree, both)

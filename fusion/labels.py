"""Pseudo-labels: cross-view check and probabilistic encoding of one view (docs/method.md, section 4)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.files import DataError
from datasets.formats.images import colour_map, write_image
from datasets.formats.pfm import write_pfm
from datasets.mvs import MVSDataset
from datasets.predictions import Predictions
from datasets.records import digest, keep_record, map_digest, read_record, write_marker
from datasets.results import LABEL_RECORD, MASKS, LabelFiles, mapped_views
from fusion.consistency import Check
from fusion.filters import check_prediction

# Labels of a smaller share of the pixels come with a warning.
_FEW = 0.05


def label_origin(predictions: Predictions, reference: int, sources: Sequence[int], settings: Mapping[str, Any]) -> str:
    """Digest of all that a view's label is made from; raises DataError where a map or a camera cannot be read."""
    own = predictions.digests(reference)
    others = [predictions.digests(source) for source in sources]
    return digest(dict(settings), own, [(other.depth, other.camera) for other in others])


def begin_labels(folder: Path, settings: Mapping[str, Any], origins: Mapping[int, str]) -> None:
    """Remove a scan's labels that were not made from what `origins` tells of each view, and write the scan's record.

    The record changes with every label, so that a training can tell which ones it has seen.
    """
    present = {*mapped_views(LabelFiles(folder, 0).mean.parent), *mapped_views(LabelFiles(folder, 0).deviation.parent)}
    for view in sorted(present):
        files = LabelFiles(folder, view)
        if view not in origins or read_record(files.record).get("made_from") != origins[view]:
            files.remove()
    keep_record(folder / LABEL_RECORD, {**settings, "made_from": digest(sorted(origins.items()))})


def finished_share(folder: Path, view: int) -> float | None:
    """Kept share of the pixels of a finished view; None when it is not finished."""
    files = LabelFiles(folder, view)
    kept = read_record(files.record).get("kept")
    return float(kept) if files.mean.exists() and isinstance(kept, float | int) else None


def labelled_share(labels: Path, views: Iterable[tuple[str, int]]) -> float | None:
    """Mean kept share of the pixels over (scan, view) pairs; None where no record beside the labels tells it."""
    shares = (finished_share(labels / scan, view) for scan, view in views)
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def few_labels(share: float) -> str:
    """What to say of labels of this share of the pixels; nothing where a student can learn from them."""
    if share >= _FEW:
        return ""
    what = f"only {share:.2%} of the pixels are labelled, from which a student learns little"
    if share == 0:
        what = "without a labelled pixel a student learns nothing"
    return f"{what}. Train the teacher for longer, or loosen the check (--thres_view, --conf)"


def write_labels(
    predictions: Predictions,
    reference: int,
    sources: list[int],
    check: Check,
    conf: float,
    folder: Path,
    origin: str = "",
) -> float:
    """Check one view, write its files, return the kept share of its pixels; `origin` is that of `label_origin`."""
    agreement = check_prediction(predictions, reference, sources, check)
    confident = predictions.confidence(reference) > conf
    kept = agreement.passed & confident
    files = LabelFiles(folder, reference)
    for kind, mask in zip(MASKS, (confident, agreement.passed, kept), strict=True):
        write_image(files.mask(kind), mask.astype(np.uint8) * 255)
    mu = np.where(kept, agreement.mean, np.float32(0))
    sigma = np.where(kept, agreement.sigma, np.float32(0))
    share = float(kept.mean())
    _write(files, mu, sigma, {"made_from": origin, "kept": share})
    return share


def _write(files: LabelFiles, mu: np.ndarray, sigma: np.ndarray, record: dict[str, Any]) -> None:
    """Write a label, the mean last."""
    for path, values in zip(files.previews, (mu, sigma), strict=True):
        write_image(path, colour_map(values))
    write_pfm(files.deviation, sigma)
    write_marker(files.mean, mu, files.record, record)


def exact_label(dataset: MVSDataset, index: int, sigma: float, inverse: bool) -> tuple[np.ndarray, np.ndarray]:
    """(mu, sigma) [H, W] of a sample's reference view: its exact depth, and `sigma` depth intervals where it is known.

    With `inverse` these are the intervals of a range that is sampled evenly in inverse depth: they grow with the square
    of the depth. Raises DataError where the depth is not known at all.
    """
    entry, layout = dataset.entries[index], dataset.layout
    depth = layout.ground_truth(entry.scan, entry.reference, dataset.view_keys(index)[0].size)
    if depth is None:
        raise DataError(f"{layout.root}: {entry.scan} has no exact depth for view {entry.reference}")
    camera = layout.camera(entry.scan, entry.reference)
    interval = camera.depth_line[1]
    if inverse:
        near, far = camera.depth_range(dataset.settings.numdepth)
        interval = np.square(depth) * ((1 / near - 1 / far) / dataset.settings.numdepth)
    return depth, np.where(depth > 0, np.float32(sigma) * interval, 0).astype(np.float32)


def write_exact_label(folder: Path, view: int, mu: np.ndarray, sigma: np.ndarray) -> None:
    """Write a view's label from its exact depth."""
    write_label(folder, view, mu, sigma, exact_origin(mu, sigma))


def write_label(folder: Path, view: int, mu: np.ndarray, sigma: np.ndarray, origin: str) -> float:
    """Write a view's label [H, W] that was made elsewhere; returns the labelled share of its pixels."""
    share = float((mu > 0).mean())
    _write(LabelFiles(folder, view), mu, sigma, {"made_from": origin, "kept": share})
    return share


def exact_origin(mu: np.ndarray, sigma: np.ndarray) -> str:
    """Digest of all that a label from exact depth is made from."""
    return digest("exact", map_digest(mu), map_digest(sigma))

"""Filtered fusion: depths that the sources of pair.txt confirm become points (docs/method.md, section 4)."""

from collections.abc import Iterator

import numpy as np

from datasets.camera import fits_float32
from datasets.files import PathLike
from datasets.predictions import Predictions
from fusion.clouds import CloudOptions, Points, write_cloud
from fusion.consistency import Agreement, Check, check_view
from fusion.normals import depth_normals


def check_prediction(predictions: Predictions, reference: int, sources: list[int], check: Check) -> Agreement:
    """The cross-view check of one predicted view against its predicted sources."""
    return check_view(predictions.view(reference), (predictions.view(view) for view in sources), check)


def filtered_views(
    predictions: Predictions, pair_path: PathLike, conf: float, check: Check, normals: bool = False
) -> Iterator[Points]:
    """Per reference view the points of the pixels that are kept, row by row.

    Kept: depth positive and finite, confidence above `conf` (NaN is not), and confirmed by the sources. The point lies
    at the mean of the agreeing depths; its normal, where wanted, is that of the view's own depth map.
    """
    for reference, sources in predictions.checked_pairs(pair_path):
        view = predictions.view(reference)
        agreement = check_prediction(predictions, reference, sources, check)
        kept = agreement.passed & (predictions.confidence(reference) > conf)
        kept &= np.isfinite(view.depth) & (view.depth > 0)  # a check that asks for no source passes everything
        image = predictions.image(reference)
        found = depth_normals(view.depth, view.camera)[kept] if normals else None
        precision = np.float32 if fits_float32([view.camera]) else np.float64
        yield Points(view.camera.lift(agreement.mean, kept).astype(precision), image[kept], found)


def fuse_scan_with_filter(
    scan_dir: PathLike | Predictions,
    pair_path: PathLike,
    ply_path: PathLike,
    conf: float,
    check: Check,
    options: CloudOptions = CloudOptions(),
) -> int:
    """Fuse a scan folder in the output layout into a PLY with the normal or dynamic check; returns the point count.

    `conf` bounds the confidence maps, which hold the product of the three stages' confidences. The cloud may be empty.
    Raises DataError when a file is missing or damaged, sizes of one view differ, or a view was not predicted.
    """
    parts = filtered_views(Predictions.of(scan_dir), pair_path, conf, check, options.normals)
    return write_cloud(ply_path, parts, options)

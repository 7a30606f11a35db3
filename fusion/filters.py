"""Filtered fusion: depths that the sources of pair.txt confirm become points (docs/method.md, section 4)."""

from collections.abc import Iterator

import numpy as np

from datasets.camera import fits_float32
from datasets.files import PathLike
from datasets.predictions import Predictions
from fusion.clouds import Points, ViewPoints, agreeing_views, shares, write_cloud
from fusion.consistency import Agreement, Check, check_view
from fusion.normals import depth_normals
from fusion.options import CloudOptions


def check_prediction(predictions: Predictions, reference: int, sources: list[int], check: Check) -> Agreement:
    """The cross-view check of one predicted view against its predicted sources."""
    return check_view(predictions.view(reference), (predictions.view(view) for view in sources), check)


def filtered_views(
    predictions: Predictions, pair_path: PathLike, conf: float, check: Check, options: CloudOptions = CloudOptions()
) -> Iterator[ViewPoints]:
    """Per reference view the points of the pixels that are kept, row by row, with the columns that the options ask for.

    Kept: depth positive and finite, confidence above `conf` (NaN is not), and confirmed by the sources. The point lies
    at the mean of the agreeing depths; its normal, where wanted, is that of the view's own depth map.
    """
    for reference, sources in predictions.checked_pairs(pair_path):
        view = predictions.view(reference)
        agreement = check_prediction(predictions, reference, sources, check)
        confidence = predictions.confidence(reference)
        kept = agreement.passed & (confidence > conf)
        kept &= np.isfinite(view.depth) & (view.depth > 0)  # a check that asks for no source passes everything
        image = predictions.image(reference)
        precision = np.float32 if fits_float32([view.camera]) else np.float64
        points = Points(
            view.camera.lift(agreement.mean, kept).astype(precision),
            image[kept],
            depth_normals(view.depth, view.camera)[kept] if options.normals else None,
            agreeing_views(agreement.sources[kept]) if options.agreement else None,
            shares(confidence[kept]) if options.agreement else None,
        )
        yield ViewPoints(points, np.flatnonzero(kept), view.depth, image, view.camera)


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
    views = filtered_views(Predictions.of(scan_dir), pair_path, conf, check, options)
    return write_cloud(ply_path, (view.points for view in views), options)

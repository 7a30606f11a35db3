"""Views in memory, fused as if they were files of a scan: the same points, bit by bit."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from datasets.camera import Camera
from datasets.files import DataError
from datasets.formats.pfm import write_pfm
from datasets.io import write_pairs
from datasets.layouts.general import GeneralScans
from datasets.predictions import Predictions
from datasets.results import ViewFiles
from fusion.clouds import Points, selected, whole_cloud
from fusion.finish import FinishedCloud
from tools.prediction.fuse import fused_points
from tools.prediction.predictor import write_without_depth
from tools.prediction.settings import FusionSettings

# The name of the scan that views in memory become.
IN_MEMORY = "scan"


class PredictedMaps(Protocol):
    """What fusion needs of a view: depth and confidence float32 [H, W], the camera, image uint8 [H, W, 3], its number,
    and the numbers of its sources, none for all others."""

    depth: np.ndarray
    confidence: np.ndarray
    camera: Camera
    image: np.ndarray
    number: int
    sources: tuple[int, ...]


def fuse_in_memory(views: Iterable[PredictedMaps], settings: FusionSettings, device: torch.device) -> Points:
    """The cloud of some views; each is put into a temporary folder when it comes, so that few need to be in memory.

    Images and cameras are rounded on their way as those of test.py are. Raises DataError for fewer than two views, for
    two of one number, and where settings ask for a program or for no cloud.
    """
    if settings.method == "none" or settings.program:
        raise DataError(
            "--filter_method none and --fusibile_exe_path: are for test.py, in memory there is no such fusion"
        )
    with tempfile.TemporaryDirectory(prefix="kdmvs-") as folder:
        layout = write_scan(views, folder)
        parts = fused_points(Predictions(Path(folder) / IN_MEMORY), layout, IN_MEMORY, settings, device)
        if settings.cloud.streams:
            return whole_cloud(selected(parts, settings.cloud), settings.cloud.normals)
        with FinishedCloud(parts, settings.cloud, Path(folder)) as cloud:
            return whole_cloud(cloud.chosen(), settings.cloud.normals)


def write_scan(views: Iterable[PredictedMaps], folder: str) -> GeneralScans:
    """Write views, and which see the same, as scan `IN_MEMORY` of a folder; raises DataError for fewer than two."""
    sources = _write_views(views, Path(folder) / IN_MEMORY)
    if len(sources) < 2:
        raise DataError(f"{len(sources)} views: fusion needs two or more")
    layout = GeneralScans(folder)
    listed = {view: [other for other in chosen if other in sources] for view, chosen in sources.items()}
    others = {view: [other for other in sources if other != view] for view in sources}
    pairs = [(view, [(other, 0.0) for other in listed[view] or others[view]]) for view in sources]
    write_pairs(layout.pair_path(IN_MEMORY), pairs)
    return layout


def _write_views(views: Iterable[PredictedMaps], folder: Path) -> dict[int, tuple[int, ...]]:
    """Write the views' files; returns the sources that each names, by its number."""
    sources: dict[int, tuple[int, ...]] = {}
    for view in views:
        if view.number in sources:
            raise DataError(f"view {view.number}: is there twice; every view needs a number of its own")
        files = ViewFiles(folder, view.number)
        write_without_depth(files, view.image, view.camera, view.confidence)
        write_pfm(files.depth, view.depth)
        sources[view.number] = tuple(view.sources)
    return sources

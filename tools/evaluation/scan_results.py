"""One scan of a result: which views there are, what they are compared with, and where they can be trusted."""

import functools
from pathlib import Path

import numpy as np

from datasets.files import DataError
from datasets.io import Pairs
from datasets.layouts import LAYOUTS
from datasets.layouts.base import Layout
from datasets.photos.names import read_photo_names
from datasets.predictions import Predictions
from datasets.results import DEPTH_FOLDER, cloud_path, find_pair_file, mapped_views, units_path
from datasets.units import read_units
from fusion.consistency import Check
from fusion.filters import check_prediction
from tools.evaluation.depth import known_depth

# Without a pair file a view is compared with so many others.
_NEAREST = 10


class ScanResult:
    """A scan folder in an --outdir of test.py or tools/predict.py, with the data it was made from where that is known.

    `testpath` holds the scan's pair file and, maybe, its true depth, in the layout `dataset` (a key of LAYOUTS).
    Without it every view is compared with those whose cameras stand nearest. Raises DataError when no view was
    predicted.
    """

    def __init__(self, outdir: Path, scan: str, testpath: Path | None, dataset: str = "general_eval") -> None:
        self.name, self.folder, self.testpath = scan, outdir / scan, testpath
        self._dataset = dataset
        self.cloud_path = cloud_path(outdir, scan)
        # Clouds of photos are written upright, in metres where these are known: cameras and depth follow them.
        self.units = read_units(units_path(self.cloud_path))
        world_T_scan = None if self.units is None else self.units.world_T_scan
        self.predictions = Predictions(self.folder, world_T_scan=world_T_scan)
        self.views = mapped_views(self.folder / DEPTH_FOLDER)
        if not self.views:
            raise DataError(f"{self.folder / DEPTH_FOLDER}: holds no depth map; predict this scan first")

    @functools.cached_property
    def _layout(self) -> Layout | None:
        return None if self.testpath is None else LAYOUTS[self._dataset](self.testpath)

    @functools.cached_property
    def photos(self) -> dict[int, str]:
        """The file names of the photos that the views were made from, as far as they are known."""
        return {} if self.testpath is None else read_photo_names(self.testpath / self.name)

    @functools.cached_property
    def pairs(self) -> Pairs:
        """(view, its source views) of every predicted view; only predicted sources."""
        if self.testpath is None:
            return self._nearest_views()
        pairs = dict(self.predictions.checked_pairs(find_pair_file(self.testpath, self.name)))
        return [(view, pairs.get(view, [])) for view in self.views]

    def _nearest_views(self) -> Pairs:
        cameras = [self.predictions.view(view).camera for view in self.views]
        centers = np.array([camera.centre for camera in cameras])
        pairs = []
        for i, view in enumerate(self.views):
            order = np.argsort(np.linalg.norm(centers - centers[i], axis=1), kind="stable")
            pairs.append((view, [self.views[j] for j in order if j != i][:_NEAREST]))
        return pairs

    def truth(self, view: int) -> np.ndarray | None:
        """The view's true depth [H, W] at the size of its depth map, 0 where unknown; None when there is none."""
        if self._layout is None:
            return None
        height, width = self.predictions.view(view).depth.shape
        truth = known_depth(self._layout, self.name, view, (width, height))
        if truth is None or not (truth > 0).any():
            return None
        return truth if self.units is None else (truth * self.units.scale).astype(np.float32)

    def depth(self, view: int) -> np.ndarray:
        """The view's depth [H, W], 0 where it has none."""
        depth = self.predictions.view(view).depth
        return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))

    def trusted(self, view: int, check: Check, conf: float) -> tuple[np.ndarray, np.ndarray]:
        """Two masks [H, W]: pixels that the sources confirm, and pixels of more than a confidence."""
        confirmed = check_prediction(self.predictions, view, dict(self.pairs)[view], check).passed
        return confirmed & (self.depth(view) > 0), self.predictions.confidence(view) > conf

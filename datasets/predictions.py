"""The reader of a scan's predictions, which lie as datasets.results says."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.camera import Camera
from datasets.files import DataError, PathLike, list_folder
from datasets.formats.images import read_image, read_image_size
from datasets.formats.pfm import read_pfm
from datasets.io import Pairs, read_camera, read_pairs
from datasets.records import camera_facts, digest, map_digest, read_record
from datasets.results import DEPTH_FOLDER, ViewFiles
from datasets.units import similarity_scale, transformed_camera

# Sources are near their reference in pair.txt, so a few dozen depth maps in memory spare most of the reading.
MAPS_IN_MEMORY = 50


class MapDigests(NamedTuple):
    """Digests of what a predicted view holds: depth, confidence, and the camera's projection."""

    depth: str
    confidence: str
    camera: str


@dataclasses.dataclass(frozen=True)
class DepthView:
    """A depth map [H, W] float32 and its camera, whose K is at the depth map's size."""

    depth: np.ndarray
    camera: Camera


class Predictions:
    """Reads the views of one scan folder with depth_est/ (or another folder of depth), confidence/, cams/ and images/.

    Every reader raises DataError naming the file that is missing, damaged or of another size than the depth map.
    """

    @classmethod
    def of(cls, scan: "PathLike | Predictions") -> "Predictions":
        """Those of a scan folder, with depth_est/, unless they are given themselves."""
        return scan if isinstance(scan, Predictions) else cls(scan)

    def __init__(
        self, scan_dir: PathLike, depth_folder: str = DEPTH_FOLDER, world_T_scan: np.ndarray | None = None
    ) -> None:
        """`world_T_scan` [4, 4] is the similarity of datasets.units by which cameras and depths are read."""
        self.folder = Path(scan_dir)
        self.depth_folder = depth_folder
        # Not a method: a cache that held its own object would keep the maps until Python looks for such circles.
        read = functools.partial(_read_view, self.folder, depth_folder, world_T_scan)
        self.view = functools.lru_cache(MAPS_IN_MEMORY)(read)

    def depth_path(self, view: int) -> Path:
        """The file that holds the depth of a view."""
        return self.files(view).depth

    def files(self, view: int) -> ViewFiles:
        """Where a view's files lie."""
        return ViewFiles(self.folder, view, self.depth_folder)

    def has(self, view: int) -> bool:
        """Whether the view was predicted."""
        return self.depth_path(view).name in self._depth_files

    @functools.cached_property
    def _depth_files(self) -> frozenset[str]:
        return frozenset(list_folder(self.folder / self.depth_folder))

    def confidence(self, view: int) -> np.ndarray:
        """Photometric confidence float32 [H, W] of a view."""
        path = self.files(view).confidence
        confidence = read_map(path)
        self._check_size(path, confidence.shape, view)
        return confidence

    def digests(self, view: int) -> MapDigests:
        """What the view holds. The maps are read only where their record does not tell, or they were changed later."""
        files = self.files(view)
        camera = digest(camera_facts(read_camera(files.camera)))
        record = read_record(files.record)
        depth, confidence = record.get("depth"), record.get("confidence")
        if depth and confidence and _no_older(files.record, (files.depth, files.confidence)):
            return MapDigests(str(depth), str(confidence), camera)
        return MapDigests(map_digest(self.view(view).depth), map_digest(self.confidence(view)), camera)

    def thresholded_depth(self, view: int, prob_threshold: float) -> np.ndarray:
        """A copy of the depth [H, W] with 0 where the confidence is below the threshold; NaN confidence keeps it."""
        rejected = self.confidence(view) < np.float32(prob_threshold)
        return np.where(rejected, np.float32(0), self.view(view).depth)

    def image(self, view: int) -> np.ndarray:
        """The view's image, RGB uint8 [H, W, 3]."""
        return read_image(self.image_path(view))

    def image_path(self, view: int) -> Path:
        """The file that holds the image of a view, after a look at its size."""
        path = self.files(view).image
        self._check_size(path, read_image_size(path)[::-1], view)
        return path

    def checked_pairs(self, pair_path: PathLike) -> Pairs:
        """(reference view, source views) of a pair file, each source once, for every view that has sources.

        A view without sources of its own is never predicted, so it is left out as a source too. Raises DataError
        naming the pair file when any other view in it was not predicted.
        """
        listed = read_pairs(pair_path)
        optional = {view for view, sources in listed if not sources}
        pairs = []
        for reference, sources in listed:
            sources = [view for view in dict.fromkeys(sources) if view not in optional or self.has(view)]
            for view in (reference, *sources):
                if reference not in optional and not self.has(view):
                    raise DataError(
                        f"{pair_path}: view {reference} needs view {view}, but {self.depth_path(view)} is missing; "
                        "predict that view or give the pair file of these predictions"
                    )
            if reference not in optional:
                pairs.append((reference, sources))
        return pairs

    def check_one_size(self, views: Sequence[int]) -> tuple[int, int]:
        """(height, width) of the depth maps of some views; raises DataError when they differ or there is no view."""
        if not views:
            raise DataError(f"{self.folder}: there is no view to fuse")
        first = self.view(views[0]).depth.shape
        for view in views:
            shape = self.view(view).depth.shape
            if shape != first:
                raise DataError(
                    f"{self.depth_path(view)}: is {_size(shape)}, but view {views[0]} is {_size(first)}; "
                    "the fusibile program needs one size, leave out --fusibile_exe_path: the built-in fuser takes any"
                )
        return first

    def _check_size(self, path: Path, shape: tuple[int, ...], view: int) -> None:
        expected = self.view(view).depth.shape
        if tuple(shape[:2]) != expected:
            raise DataError(
                f"{path}: is {_size(shape)}, but {self.depth_path(view)} is {_size(expected)}; predict this view again"
            )


def _read_view(folder: Path, depth_folder: str, world_T_scan: np.ndarray | None, view: int) -> DepthView:
    files = ViewFiles(folder, view, depth_folder)
    depth, camera = read_map(files.depth), read_camera(files.camera)
    if world_T_scan is None:
        return DepthView(depth, camera)
    scaled = (depth * similarity_scale(world_T_scan)).astype(np.float32)
    return DepthView(scaled, transformed_camera(world_T_scan, camera))


def _no_older(path: Path, others: Sequence[Path]) -> bool:
    """Whether a file was written after the others; False where one is missing."""
    try:
        return path.stat().st_mtime_ns >= max(other.stat().st_mtime_ns for other in others)
    except OSError:
        return False


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def read_map(path: Path) -> np.ndarray:
    """A depth or confidence map, float32 [H, W]; raises DataError when the file is missing, damaged or in colour."""
    data = read_pfm(path)
    if data.ndim != 2:
        raise DataError(f"{path}: has three channels, expected one; predict this view again")
    return data

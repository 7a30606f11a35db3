"""The result layout: the one home of where depth maps, labels and clouds lie (docs/formats.md), and their reader.

OUTDIR/gipuma_pcd/            clouds                                         cloud_path
OUTDIR/<scan>/depth_est/      depth maps, previews, records                  ViewFiles
              depth_raw/      the network's, where depth_est/ is refined     ViewFiles
              confidence/ cams/ images/                                      ViewFiles
LABELS/<scan>/checked_depth/ fused_sigma/ mask/                              LabelFiles
"""

import dataclasses
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.camera import Camera
from datasets.files import DataError, PathLike, check_scan_name, list_folder, read_scan_list
from datasets.formats.images import read_image, read_image_size
from datasets.formats.pfm import read_pfm
from datasets.io import Pairs, read_camera, read_pairs
from datasets.records import camera_facts, digest, map_digest, read_record

# Sources are near their reference in pair.txt, so a few dozen depth maps in memory spare most of the reading.
MAPS_IN_MEMORY = 50

DEPTH_FOLDER = "depth_est"
RAW_FOLDER = "depth_raw"
CLOUD_FOLDER = "gipuma_pcd"
MASKS = ("photo", "geo", "final")

# In a scan folder: what its predictions, refined depth and labels were made with.
PREDICTION_RECORD = "prediction.json"
REFINE_RECORD = "refine.json"
LABEL_RECORD = "check_and_encode.json"

# ---------------------------------------------------------------- files


@dataclasses.dataclass(frozen=True)
class ViewFiles:
    """The files of a predicted view in a scan folder; `depth_folder` is where its depth map lies."""

    folder: Path
    view: int
    depth_folder: str = DEPTH_FOLDER

    def _file(self, folder: str, suffix: str) -> Path:
        return self.folder / folder / f"{self.view:08d}{suffix}"

    @property
    def depth(self) -> Path:
        """The depth map, written last: it marks the view as finished."""
        return self._file(self.depth_folder, ".pfm")

    @property
    def record(self) -> Path:
        """What the depth map was made from (datasets.records)."""
        return self._file(self.depth_folder, ".json")

    @property
    def depth_preview(self) -> Path:
        """A picture of the depth."""
        return self._file(self.depth_folder, ".png")

    @property
    def confidence(self) -> Path:
        """The confidence map."""
        return self._file("confidence", ".pfm")

    @property
    def confidence_preview(self) -> Path:
        """A picture of the confidence."""
        return self._file("confidence", ".png")

    @property
    def camera(self) -> Path:
        """The camera, at the depth map's size."""
        return self._file("cams", "_cam.txt")

    @property
    def image(self) -> Path:
        """The image, at the depth map's size."""
        return self._file("images", ".jpg")

    def remove(self) -> None:
        """Remove them all, first the depth map."""
        previews = (self.depth_preview, self.confidence_preview)
        for path in (self.depth, self.record, *previews, self.confidence, self.camera, self.image):
            path.unlink(missing_ok=True)

    def remove_depth(self) -> None:
        """Remove the depth map with its record and its picture."""
        for path in (self.depth, self.record, self.depth_preview):
            path.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True)
class LabelFiles:
    """The files of a view's pseudo-label in a scan folder."""

    folder: Path
    view: int

    @property
    def mean(self) -> Path:
        """mu, the mean of the depths that agree, written last: it marks the view as finished."""
        return self.folder / "checked_depth" / f"{self.view:08d}.pfm"

    @property
    def record(self) -> Path:
        """What the label was made from (datasets.records)."""
        return self.mean.with_suffix(".json")

    @property
    def deviation(self) -> Path:
        """sigma, their standard deviation."""
        return self.folder / "fused_sigma" / f"{self.view:08d}.pfm"

    @property
    def previews(self) -> tuple[Path, Path]:
        """Pictures of mu and sigma."""
        return self.mean.with_suffix(".png"), self.deviation.with_suffix(".png")

    def mask(self, kind: str) -> Path:
        """A picture of the pixels that a check keeps: one of `MASKS`."""
        return self.folder / "mask" / f"{self.view:08d}_{kind}.png"

    def remove(self) -> None:
        """Remove them all, first the one that marks the view as finished."""
        for path in (self.mean, self.record, self.deviation, *self.previews, *map(self.mask, MASKS)):
            path.unlink(missing_ok=True)


def network_folder(scan_dir: Path) -> str:
    """The name of the folder with the network's own depth: where refined maps stand in its place, it is put aside."""
    return RAW_FOLDER if (scan_dir / RAW_FOLDER).is_dir() else DEPTH_FOLDER


def is_refined(scan_dir: Path) -> bool:
    """Whether a scan folder's depth_est/ holds refined depth maps, all of them."""
    return (scan_dir / REFINE_RECORD).exists()


def mapped_views(folder: Path) -> list[int]:
    """The views whose map (PFM) lies in a folder, in order; none where there is no such folder."""
    names = list_folder(folder) if folder.is_dir() else []
    return [int(name[:8]) for name in names if re.fullmatch(r"[0-9]{8}\.pfm", name)]


# ---------------------------------------------------------------- predictions


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

    def __init__(self, scan_dir: PathLike, depth_folder: str = DEPTH_FOLDER) -> None:
        self.folder = Path(scan_dir)
        self.depth_folder = depth_folder
        # Not a method: a cache that held its own object would keep the maps until Python looks for such circles.
        self.view = functools.lru_cache(MAPS_IN_MEMORY)(functools.partial(_read_view, self.folder, depth_folder))

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
                    "this fusion needs one size, use the normal or dynamic filter instead"
                )
        return first

    def _check_size(self, path: Path, shape: tuple[int, ...], view: int) -> None:
        expected = self.view(view).depth.shape
        if tuple(shape[:2]) != expected:
            raise DataError(
                f"{path}: is {_size(shape)}, but {self.depth_path(view)} is {_size(expected)}; predict this view again"
            )


def _read_view(folder: Path, depth_folder: str, view: int) -> DepthView:
    files = ViewFiles(folder, view, depth_folder)
    depth = read_map(files.depth)
    return DepthView(depth, read_camera(files.camera))


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


# ---------------------------------------------------------------- clouds


def cloud_path(outdir: Path, scan: str) -> Path:
    """Where a scan's cloud is written."""
    return outdir / CLOUD_FOLDER / cloud_name(scan)


def cloud_name(scan: str) -> str:
    """The file name of a scan's cloud: the official one for scan<number>; not for scan01, as scan1 has that name."""
    number = scan_number(scan)
    return f"mvsnet{number:03d}_l3.ply" if scan == f"scan{number}" else f"{scan}.ply"


def scan_number(scan: str) -> int | None:
    """The number of a scan named scan<number>, else None."""
    match = re.fullmatch(r"scan([0-9]{1,9})", scan)
    return int(match[1]) if match else None


def check_cloud_names(scans: Sequence[str]) -> None:
    """Raise DataError where the clouds of two scans would be one file."""
    owners: dict[str, str] = {}
    for scan in scans:
        other = owners.setdefault(cloud_name(scan).lower(), scan)  # some file systems do not tell capitals apart
        if other != scan:
            raise DataError(f"scans {other} and {scan}: both clouds would be {cloud_name(scan)}; rename one of them")


# ---------------------------------------------------------------- looking for results


def find_scans(testpath: Path, testlist: str) -> list[str]:
    """Scan names of the list file, or of every folder with predictions."""
    if testlist != "all":
        return read_scan_list(testlist)
    scans = [name for name in list_folder(testpath) if (testpath / name / DEPTH_FOLDER).is_dir()]
    if not scans:
        raise DataError(f"{testpath}: has no folder with predictions (<scan>/{DEPTH_FOLDER}); predict first")
    return [check_scan_name(scan, testpath) for scan in scans]


def find_pair_file(pairpath: Path, scan: str) -> Path:
    """The pair file itself, or that of the DTU training, the test or the BlendedMVS layout (docs/formats.md)."""
    if pairpath.is_file():
        return pairpath
    names = ("Cameras/pair.txt", f"{scan}/pair.txt", f"{scan}/cams/pair.txt")
    for name in names:
        if (pairpath / name).is_file():
            return pairpath / name
    raise DataError(f"{pairpath}: is no pair file and holds none ({', '.join(names)})")

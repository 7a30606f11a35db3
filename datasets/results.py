"""The result layout: where depth maps, labels and clouds of a scan lie, and the reader of them (specs: formats)."""

import dataclasses
import functools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.camera import Camera
from datasets.files import DataError, PathLike, check_scan_name, list_folder, read_scan_list
from datasets.formats.images import read_image, read_image_size
from datasets.formats.pfm import read_pfm
from datasets.io import Pairs, read_camera, read_pairs

# Sources are near their reference in pair.txt, so a few dozen depth maps in memory spare most of the reading.
MAPS_IN_MEMORY = 50

DEPTH_FOLDER = "depth_est"
# In a scan folder: what its predictions were made with.
PREDICTION_RECORD = "prediction.json"


@dataclasses.dataclass(frozen=True)
class DepthView:
    """A depth map [H, W] float32 and its camera, whose K is at the depth map's size."""

    depth: np.ndarray
    camera: Camera


class Predictions:
    """Reads the views of one scan folder with depth_est/ (or another folder of depth), confidence/, cams/ and images/.

    Every reader raises DataError naming the file that is missing, damaged or of another size than the depth map.
    """

    def __init__(self, scan_dir: PathLike, depth_folder: str = DEPTH_FOLDER) -> None:
        self.folder = Path(scan_dir)
        self.depth_folder = depth_folder
        # Not a method: a cache that held its own object would keep the maps until Python looks for such circles.
        self.view = functools.lru_cache(MAPS_IN_MEMORY)(functools.partial(_read_view, self.folder, depth_folder))

    def depth_path(self, view: int) -> Path:
        """The file that holds the depth of a view."""
        return _depth_path(self.folder, self.depth_folder, view)

    def has(self, view: int) -> bool:
        """Whether the view was predicted."""
        return self.depth_path(view).name in self._depth_files

    @functools.cached_property
    def _depth_files(self) -> frozenset[str]:
        return frozenset(list_folder(self.folder / self.depth_folder))

    def confidence(self, view: int) -> np.ndarray:
        """Photometric confidence float32 [H, W] of a view."""
        path = self.folder / "confidence" / f"{view:08d}.pfm"
        confidence = read_map(path)
        self._check_size(path, confidence.shape, view)
        return confidence

    def thresholded_depth(self, view: int, prob_threshold: float) -> np.ndarray:
        """A copy of the depth [H, W] with 0 where the confidence is below the threshold; NaN confidence keeps it."""
        rejected = self.confidence(view) < np.float32(prob_threshold)
        return np.where(rejected, np.float32(0), self.view(view).depth)

    def image(self, view: int) -> np.ndarray:
        """The view's image, RGB uint8 [H, W, 3]."""
        return read_image(self.image_path(view))

    def image_path(self, view: int) -> Path:
        """The file that holds the image of a view, after a look at its size."""
        path = self.folder / "images" / f"{view:08d}.jpg"
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


def _depth_path(folder: Path, depth_folder: str, view: int) -> Path:
    return folder / depth_folder / f"{view:08d}.pfm"


def _read_view(folder: Path, depth_folder: str, view: int) -> DepthView:
    depth = read_map(_depth_path(folder, depth_folder, view))
    return DepthView(depth, read_camera(folder / "cams" / f"{view:08d}_cam.txt"))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def read_map(path: Path) -> np.ndarray:
    """A depth or confidence map, float32 [H, W]; raises DataError when the file is missing, damaged or in colour."""
    data = read_pfm(path)
    if data.ndim != 2:
        raise DataError(f"{path}: has three channels, expected one; predict this view again")
    return data


def view_path(outdir: Path, scan: str, folder: str, view: int, suffix: str) -> Path:
    """Where a view's result lies, for example <outdir>/<scan>/depth_est/00000000.pfm."""
    return outdir / scan / folder / f"{view:08d}{suffix}"


def cloud_path(outdir: Path, scan: str) -> Path:
    """Where a scan's cloud is written (specs: formats)."""
    return outdir / "gipuma_pcd" / cloud_name(scan)


def scan_number(scan: str) -> int | None:
    """The number of a scan named scan<number>, else None."""
    match = re.fullmatch(r"scan([0-9]{1,9})", scan)
    return int(match[1]) if match else None


def cloud_name(scan: str) -> str:
    """The file name of a scan's cloud (specs: formats)."""
    number = scan_number(scan)
    return f"{scan}.ply" if number is None else f"mvsnet{number:03d}_l3.ply"


def find_scans(testpath: Path, testlist: str) -> list[str]:
    """Scan names of the list file, or of every folder with predictions."""
    if testlist != "all":
        return read_scan_list(testlist)
    scans = [name for name in list_folder(testpath) if (testpath / name / "depth_est").is_dir()]
    if not scans:
        raise DataError(f"{testpath}: has no folder with predictions (<scan>/depth_est); predict first")
    return [check_scan_name(scan, testpath) for scan in scans]


def find_pair_file(pairpath: Path, scan: str) -> Path:
    """The pair file itself, or that of the DTU training, the test or the BlendedMVS layout (specs: formats)."""
    if pairpath.is_file():
        return pairpath
    names = ("Cameras/pair.txt", f"{scan}/pair.txt", f"{scan}/cams/pair.txt")
    for name in names:
        if (pairpath / name).is_file():
            return pairpath / name
    raise DataError(f"{pairpath}: is no pair file and holds none ({', '.join(names)})")


def depth_label_path(folder: Path, view: int) -> Path:
    """The file that is written last, so that it marks a finished view."""
    return folder / "checked_depth" / f"{view:08d}.pfm"

"""Depth maps of other programs in the files of a network's prediction, so that they can be checked, fused, refined and
learned from."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datasets.camera import Camera
from datasets.files import DataError, read_bytes
from datasets.formats.depth_maps import DepthMap, read_depth_map
from datasets.formats.images import read_image_size
from datasets.layouts.general import nearest_points
from datasets.mvs import MVSDataset
from datasets.photos.names import read_photo_names
from datasets.records import digest
from datasets.results import CONFIDENCE_OF
from tools.prediction.depth_files import CONFIDENCE_FOLDERS, DEPTH_FOLDERS, files_of_views, maps_folder
from tools.prediction.depth_fit import FEWEST_POINTS, fitted_line, read_any_points
from tools.prediction.origins import Origins, check_outdir, entries_by_scan, layout_name
from tools.prediction.predictor import unfinished_batches, write_prediction
from tools.prediction.settings import ImportSettings, recorded
from tools.runtime.program import Progress

# Four pixels of a map are of one surface where the farthest is at most so many times as far as the nearest.
_ONE_SURFACE = 1.05
_POINT_CELL = 8  # pixels: of the points in a cell of this side the nearest is seen
_SCAN_POINTS = "sparse_points.txt"
_NAMED = 5  # views in a message
_OTHER_UNIT = 5.0  # so many times beyond a camera's range depth is taken to be in another unit


@dataclasses.dataclass(frozen=True)
class _ScanFiles:
    """A scan's maps by views, and the points [N, 3] that depth is fitted to, None without."""

    depth: dict[int, Path]
    confidence: dict[int, Path]
    points: np.ndarray | None


def import_depth(dataset: MVSDataset, outdir: Path, settings: ImportSettings) -> None:
    """Bring the maps of every reference view of the dataset to `outdir`; a rerun brings what is new or has changed.

    A view without a map, or whose map cannot be brought to scale, gets depth 0 everywhere, and is named. Raises
    DataError for damaged files, and where no view has a map.
    """
    check_outdir(dataset, outdir)
    files = _find(dataset, settings)
    _check_apart(outdir, files)
    record = {"method": "import_depth", "layout": layout_name(dataset.layout), **_recorded(settings)}
    record["files"] = digest({scan: _digests(of_scan) for scan, of_scan in files.items()})
    origins = Origins(dataset, outdir, record)
    origins.begin()
    unfinished = [index for (index,) in unfinished_batches(dataset, outdir, 1)]
    told: set[str] = set()  # scans whose depth is in another unit
    empty = 0
    with Progress(len(unfinished), "import depth") as progress:
        for index in unfinished:
            error, known = _import_view(origins, index, files[dataset.entries[index].scan], settings, told)
            empty += not known
            progress.step("" if error is None else f"median error at the points {error:.2%}")
    if empty:
        print(f"{outdir}: {empty} of the {len(unfinished)} views that were brought have no depth at all", flush=True)


def _recorded(settings: ImportSettings) -> dict[str, Any]:
    """What the settings say, without where the files are: their contents count."""
    values = dataclasses.asdict(settings)
    for name in ("depth", "confidence", "points"):
        values.pop(name)
    return recorded(values)


def _find(dataset: MVSDataset, settings: ImportSettings) -> dict[str, _ScanFiles]:
    """The files of every scan of the dataset."""
    scans = entries_by_scan(dataset)
    several, found = len(scans) > 1, {}
    for scan, indices in scans.items():
        names = _view_names(dataset, scan, indices)
        folder = maps_folder(settings.depth, scan, several, DEPTH_FOLDERS)
        depth = files_of_views(folder, names, settings.suffix)
        if not depth:
            raise DataError(
                f"{folder}: no map in it is called by a photo or the number of a view of {scan}, such as "
                f"{names[min(names)][0]}.geometric.bin or {min(names):08d}.pfm; --suffix says what follows the names"
            )
        missing = [view for view in names if view not in depth]
        if missing:
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            listed = ", ".join(map(str, missing[:_NAMED]))
            print(f"{folder}: has no map of the views {listed}{more} of {scan}; they get no depth", flush=True)
        confidences = _confidences(folder, settings, scan, several, names)
        found[scan] = _ScanFiles(depth, confidences, _points(settings, dataset, scan))
    return found


def _check_apart(outdir: Path, files: dict[str, _ScanFiles]) -> None:
    """Raise DataError where results would replace the maps that they are made from."""
    for scan, of_scan in files.items():
        own = {(outdir / scan / name).resolve() for name in (*CONFIDENCE_OF, *CONFIDENCE_OF.values())}
        for path in (*of_scan.depth.values(), *of_scan.confidence.values()):
            if path.resolve().parent in own:
                raise DataError(f"--outdir {outdir}: {path.parent} holds the maps to be imported; name another folder")


def _view_names(dataset: MVSDataset, scan: str, indices: list[int]) -> dict[int, list[str]]:
    """What the photo of each view is called, as imports remember it and in the scan."""
    layout, names = dataset.layout, {}
    photos = read_photo_names(layout.pair_path(scan).parent)
    for index in indices:
        entry = dataset.entries[index]
        image = layout.image_path(scan, entry.reference, entry.light).name
        names[entry.reference] = [photos[entry.reference], image] if entry.reference in photos else [image]
    return names


def _confidences(
    folder: Path, settings: ImportSettings, scan: str, several: bool, names: dict[int, list[str]]
) -> dict[int, Path]:
    """The confidence maps: from where the settings say, or from beside depth_est/, as networks of this kind write."""
    if settings.confidence is not None:
        return files_of_views(maps_folder(settings.confidence, scan, several, CONFIDENCE_FOLDERS), names)
    beside = folder.parent / "confidence"
    return files_of_views(beside, names) if folder.name == "depth_est" and beside.is_dir() else {}


def _points(settings: ImportSettings, dataset: MVSDataset, scan: str) -> np.ndarray | None:
    if not settings.fit:
        return None
    return read_any_points(settings.points or dataset.layout.pair_path(scan).parent / _SCAN_POINTS)


def _digests(files: _ScanFiles) -> list:
    """What tells the contents of a scan's files."""
    kinds = (files.depth, files.confidence)
    maps = [sorted((view, _file_digest(path)) for view, path in kind.items()) for kind in kinds]
    points = "" if files.points is None else hashlib.sha256(np.ascontiguousarray(files.points)).hexdigest()
    return [*maps, points]


def _file_digest(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()


def _import_view(
    origins: Origins, index: int, files: _ScanFiles, settings: ImportSettings, told: set[str]
) -> tuple[float | None, bool]:
    """Bring one view's maps; returns the median error of the fit to points, where there was one, and whether there is
    any depth. `told` has the scans of which it has been said that their depth is in another unit."""
    dataset, entry = origins.dataset, origins.dataset.entries[index]
    view = dataset.load(dataset.view_keys(index)[0])
    image = view.pixels()
    path, error = files.depth.get(entry.reference), None
    depth = np.zeros(image.shape[:2], np.float32)
    confidence = depth
    if path is not None:
        full = read_image_size(dataset.layout.image_path(entry.scan, entry.reference, entry.light))
        read = read_depth_map(path)
        depth = resampled(_valid(read.depth, settings.inverse), full, view.size, path)
        depth, error = _scaled(depth, view.camera, files.points, settings, f"{entry.scan}: view {entry.reference}")
        if entry.scan not in told and _is_of_another_unit(depth, view.camera, settings.numdepth, path):
            told.add(entry.scan)
        confidence = np.where(depth > 0, _confidence(read, files.confidence.get(entry.reference), full, view.size), 0)
    maps = (image, view.camera, depth, confidence.astype(np.float32))
    write_prediction(origins.outdir, dataset, index, *maps, origins.of(index))
    return error, bool((depth > 0).any())


def _valid(values: np.ndarray, keep_sign: bool) -> np.ndarray:
    """A map with not-a-number where nothing is known; relative inverse depth may be 0 or negative."""
    known = np.isfinite(values) if keep_sign else np.isfinite(values) & (values > 0)
    return np.where(known, values, np.float32(np.nan))


def _scaled(
    values: np.ndarray, camera: Camera, points: np.ndarray | None, settings: ImportSettings, name: str
) -> tuple[np.ndarray, float | None]:
    """Depth [H, W] in world units, 0 where unknown, of a map's values; the median error of the fit, if there is one."""
    error = None
    if points is None:
        values = values * np.float32(settings.scale)
    else:
        seen = nearest_points(points, camera, values.shape[::-1], _POINT_CELL)
        at = seen > 0
        line = fitted_line(values[at], 1 / seen[at] if settings.inverse else seen[at])
        if line is None:
            print(
                f"{name}: no scale explains its depth at the {at.sum()} points that it sees (at least {FEWEST_POINTS} "
                "are needed); it gets no depth",
                flush=True,
            )
            return np.zeros(values.shape, np.float32), None
        values, error = line.apply(values), line.error
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        depth = (1 / values if settings.inverse else values).astype(np.float32)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0)), error


def _is_of_another_unit(depth: np.ndarray, camera: Camera, numdepth: int, path: Path) -> bool:
    """Whether most of a map [H, W] is far beyond the camera's depth range; then it is said."""
    low, high = camera.depth_range(numdepth)
    middle = float(np.median(depth[depth > 0])) if (depth > 0).any() else low
    if low / _OTHER_UNIT <= middle <= high * _OTHER_UNIT:
        return False
    print(
        f"{path}: is {middle:g} deep in the median, where the camera's range is {low:g} to {high:g}; if it is in "
        "another unit, --scale gives world units per unit of the maps",
        flush=True,
    )
    return True


def _confidence(read: DepthMap, path: Path | None, full: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Confidence [H, W] in 0..1: of its own file, of the depth map's, or 1 everywhere."""
    if path is None and read.confidence is None:
        return np.ones(size[::-1], np.float32)
    values = read.confidence if path is None else read_depth_map(path).depth
    if path is not None and path.suffix.lower() == ".png":
        values = values / np.float32(np.iinfo(np.uint16).max)
    return np.clip(np.nan_to_num(resampled(values, full, size, path or Path())), 0, 1)


def resampled(values: np.ndarray, full: tuple[int, int], size: tuple[int, int], path: Path) -> np.ndarray:
    """A map [h, w] of the image of a `full` size (width, height), at the pixels of that image scaled to `size`.

    Cameras are scaled as the official code does, so pixel x of the result is x * full / size of the image; the map's
    pixels are evenly spread over the image. Between pixels of one surface values are interpolated, across edges that of
    the nearest pixel is taken. Raises DataError, which names `path`, for a map of another shape than the image.
    """
    height, width = values.shape
    if abs(width * full[1] - height * full[0]) > 2 * max(width, full[0]):
        raise DataError(
            f"{path}: is {width}x{height}, but the image {full[0]}x{full[1]}: it is cropped, or of another image"
        )
    if (width, height) == size == full:
        return values
    columns, rows = (
        ((np.arange(n) * (whole / n) + 0.5) * (mapped / whole) - 0.5).astype(np.float32)
        for n, whole, mapped in zip(size, full, (width, height), strict=True)
    )
    grid = np.broadcast_to(columns, size[::-1]), np.broadcast_to(rows[:, None], size[::-1])
    maps = [np.ascontiguousarray(axis) for axis in grid]
    border = {"borderMode": cv2.BORDER_REPLICATE}
    nearest = cv2.remap(values, *maps, cv2.INTER_NEAREST, **border)
    linear = cv2.remap(values, *maps, cv2.INTER_LINEAR, **border)
    known = np.nan_to_num(values, nan=0.0)
    low, high = cv2.erode(known, np.ones((3, 3))), cv2.dilate(known, np.ones((3, 3)))
    one_surface = ((low > 0) & (high <= _ONE_SURFACE * low)).astype(np.uint8)
    smooth = cv2.remap(one_surface, *maps, cv2.INTER_NEAREST, **border) > 0
    return np.where(smooth, linear, nearest)

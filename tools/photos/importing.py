"""Photos with known poses become a scan in the test layout."""

import contextlib
import dataclasses
from pathlib import Path

import cv2
import numpy as np

from datasets.camera import Camera
from datasets.files import DataError, list_folder, write_json
from datasets.formats.colmap import find_model, read_colmap
from datasets.formats.images import read_image, read_image_size, write_image
from datasets.formats.poses import read_middlebury, read_transforms
from datasets.io import write_camera, write_pairs
from datasets.layouts.base import Layout, forget_files
from datasets.layouts.general import SingleScan
from datasets.photos.posed import Lens, PosedPhotos
from datasets.photos.undistort import straight_lens, straighten
from datasets.photos.view_selection import (
    DepthRange,
    best_sources,
    camera_depth_ranges,
    depth_ranges,
    pair_scores,
    with_stand_in_points,
)
from datasets.sample import fitted_size
from tools.runtime.program import Progress

RECORD = "photos.json"


_RESULTS = ("cams", "images")


_NAMED = 5  # photos in a message


@dataclasses.dataclass(frozen=True)
class Options:
    """How a scan is made: images of at most max_size (width, height), so many sources a view, so many depths between
    those of the points, or of `depths`; `first_pixel` is where the model has the centre of the first pixel."""

    max_size: tuple[int, int] = (1600, 1200)
    sources: int = 10
    numdepth: int = 192
    depths: DepthRange | None = None
    first_pixel: float = 0.5


def read_posed_photos(model: Path) -> tuple[PosedPhotos, Path]:
    """The photos of a model in any of the formats, and the folder where their files should be."""
    if model.suffix == ".json":
        return read_transforms(model), model.parent
    if model.is_file() and model.name.endswith("_par.txt"):
        return read_middlebury(model), model.parent
    if model.is_file():
        raise DataError(f"{model}: is no folder, no transforms.json and no *_par.txt; give a COLMAP model's folder")
    scene = read_colmap(model)
    folder = find_model(model)[0].resolve()
    candidates = [path / "images" for path in (Path(model), folder, *list(folder.parents)[:2])]
    return scene, next((path for path in candidates if path.is_dir()), Path(model) / "images")


def import_scan(scene: PosedPhotos, images: Path, outdir: Path, options: Options, source: Path) -> None:
    """Write the scan of posed photos, whose files are in a folder; `source` is named in errors.

    Nothing is written when something is wrong with what is read. pair.txt comes last: a scan without it is none.
    """
    check_outdir(outdir, RECORD, _RESULTS)
    check_images(scene, images)
    lenses = _lenses_of_images(scene, images, options)
    straight = {id(lens): straight_lens(lens, source) for lens in lenses}
    photos = [
        dataclasses.replace(photo, lens=straight[id(lens)]) for photo, lens in zip(scene.photos, lenses, strict=True)
    ]
    scene, ranges, kept = _with_ranges(dataclasses.replace(scene, photos=photos), options, source)
    pairs = best_sources(pair_scores(scene), options.sources)
    if not any(sources for _, sources in pairs):
        raise DataError(f"{source}: no two photos of it see the same points")
    _remove_old(outdir)
    write_json(outdir / RECORD, {f"{view:08d}": photo.name for view, photo in enumerate(scene.photos)})
    with contextlib.closing(Progress(len(kept), "import")) as progress:
        for view, k in enumerate(kept):
            photo = scene.photos[view]
            image = straighten(read_image(images / photo.name), lenses[k], photo.lens)
            lens = photo.lens.scaled(image_size(photo.lens, options))
            if lens.size != photo.lens.size:
                image = cv2.resize(image, lens.size, interpolation=cv2.INTER_AREA)
            camera = Camera(lens.pixel_K(), photo.cam_T_world, depth_line(ranges[view], options.numdepth))
            write_camera(outdir / "cams" / f"{view:08d}_cam.txt", camera, np.float64)
            write_image(outdir / "images" / f"{view:08d}.jpg", image, quality=98)
            progress.step()
    write_pairs(outdir / "pair.txt", pairs)


def scan_of_photos(model: Path, folder: Path) -> tuple[Layout, list[str]]:
    """Write the scan of posed photos (`read_posed_photos`) to a folder; returns its layout and its name."""
    scene, images = read_posed_photos(model)
    import_scan(scene, images, folder, Options(), model)
    forget_files()
    layout = SingleScan(folder)
    return layout, layout.scans("all")


def image_size(lens: Lens, options: Options) -> tuple[int, int]:
    """The size at which an image is written: its own, or what fits when it is too large."""
    fits = all(side <= most for side, most in zip(lens.size, options.max_size, strict=True))
    return lens.size if fits else fitted_size(*lens.size, options.max_size)


def depth_line(limits: DepthRange, numdepth: int) -> tuple[float, ...]:
    """A camera file's last line: depth_min, interval, number of depths, depth_max (docs/formats.md)."""
    return limits[0], (limits[1] - limits[0]) / numdepth, float(numdepth), limits[1]


def _with_ranges(scene: PosedPhotos, options: Options, source: Path) -> tuple[PosedPhotos, list[DepthRange], list[int]]:
    """The photos that have a depth range, with points if there were none; their ranges; their places among all."""
    if len(scene.points) == 0:
        ranges = [options.depths] * len(scene.photos) if options.depths else camera_depth_ranges(scene.photos, source)
        return with_stand_in_points(scene.photos, ranges, source), ranges, list(range(len(ranges)))
    ranges = [options.depths] * len(scene.photos) if options.depths else depth_ranges(scene)
    left_out = {k for k, limits in enumerate(ranges) if limits is None}
    if left_out:
        names = named([scene.photos[k].name for k in sorted(left_out)])
        print(f"left out, for they see too few points: {names}", flush=True)
    kept = [k for k in range(len(ranges)) if k not in left_out]
    if len(kept) < 2:
        raise DataError(f"{source}: fewer than two of its photos see points; was the model made from these photos?")
    return scene.without(left_out), [ranges[k] for k in kept], kept


def named(names: list[str]) -> str:
    """A list of names for a message of one line."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def check_images(scene: PosedPhotos, images: Path) -> None:
    """Raise DataError unless every photo's file is there."""
    missing = [photo.name for photo in scene.photos if not (images / photo.name).is_file()]
    if missing:
        raise DataError(
            f"{images}: lacks {len(missing)} of the model's {len(scene.photos)} photos ({named(missing)}); "
            "say with --images where they are"
        )


def _lenses_of_images(scene: PosedPhotos, images: Path, options: Options) -> list[Lens]:
    """Each photo's lens at the size of its file, which may have been scaled since; equal lenses are one object."""
    lenses = {}
    return [_lens_of_image(lenses, photo.lens, images / photo.name, options) for photo in scene.photos]


def _lens_of_image(lenses: dict, lens: Lens, path: Path, options: Options) -> Lens:
    size = read_image_size(path)
    key = id(lens), size
    if key not in lenses:
        if abs(size[0] * lens.size[1] - size[1] * lens.size[0]) > 2 * max(size[0], lens.size[0]):
            raise DataError(
                f"{path}: is {size[0]}x{size[1]}, but its camera has {lens.size[0]}x{lens.size[1]} in the model: "
                "it was cropped or rotated; give the photos the model was made from"
            )
        shift = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 0]]) * (0.5 - options.first_pixel)
        lenses[key] = dataclasses.replace(lens, K=lens.K + shift).scaled(size)
    return lenses[key]


def check_outdir(outdir: Path, record: str, results: tuple[str, ...]) -> None:
    """Raise DataError when an output folder has files in `results` that are not ours: ours come with a record."""
    for name in results:
        folder = outdir / name
        if folder.is_dir() and list_folder(folder) and not (outdir / record).exists():
            raise DataError(f"{folder}: holds files that this program did not make; choose another --outdir")


def _remove_old(outdir: Path) -> None:
    """Remove what an earlier import left: its views may be other photos."""
    (outdir / "pair.txt").unlink(missing_ok=True)
    for name in _RESULTS:
        for path in (outdir / name).glob("*"):
            path.unlink()

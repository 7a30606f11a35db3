"""Photos with known poses become a scan in the test layout."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from datasets.camera import Camera
from datasets.files import DataError, list_folder
from datasets.formats.images import read_image, read_image_size, write_image
from datasets.formats.scenes import read_scene
from datasets.io import write_camera, write_pairs
from datasets.layouts.base import Layout, forget_files
from datasets.layouts.general import SingleScan
from datasets.masks import MASK_FOLDER
from datasets.photos.depth_ranges import DepthRange, depth_ranges
from datasets.photos.folders import PhotoFolders
from datasets.photos.left_out import LEFT_OUT, read_left_out, write_left_out
from datasets.photos.names import PHOTO_NAMES, write_photo_names
from datasets.photos.posed import Lens, PosedPhoto, PosedPhotos
from datasets.photos.remarks import Remarks
from datasets.photos.undistort import straight_lens, straighten
from datasets.photos.view_selection import (
    best_sources,
    camera_depth_ranges,
    has_shared_points,
    pair_scores,
    with_projected_points,
    with_stand_in_points,
)
from datasets.records import digest, keep_record, read_record
from datasets.results import view_name
from datasets.sample import fitted_size, turned_size
from tools.photos.replacing import clear_aside, replaced_folder
from tools.photos.scan_masks import ScanMasks, write_mask
from tools.runtime.program import Progress

_RESULTS = ("cams", "images")
_RECORD = "import.json"
_VERSION = 1  # of what is written; another one makes every scan anew

# What an import writes; pair.txt is the last, without which a scan is none.
_OURS = (*_RESULTS, MASK_FOLDER, PHOTO_NAMES, LEFT_OUT, _RECORD, "pair.txt")


_NAMED = 5  # photos in a message

_LENIENT = Remarks(strict=False)


@dataclasses.dataclass(frozen=True)
class Options:
    """How a scan is made: images of at most max_size (width, height), so many sources a view, so many depths between
    those of the points, or of `depths`; `first_pixel` is where the model has the centre of the first pixel."""

    max_size: tuple[int, int] = (1600, 1200)
    sources: int = 10
    numdepth: int = 192
    depths: DepthRange | None = None
    first_pixel: float = 0.5


def read_posed_photos(
    model: Path, images: Path | None = None, remarks: Remarks = _LENIENT
) -> tuple[PosedPhotos, PhotoFolders]:
    """The photos of a model in any of the formats, and the folders where their files are looked for."""
    return read_scene(model, images, remarks)


def import_scan(
    scene: PosedPhotos,
    images: Path | PhotoFolders,
    outdir: Path,
    options: Options,
    source: Path,
    remarks: Remarks = _LENIENT,
) -> None:
    """Write the scan of posed photos, whose files are in a folder or several; `source` is named in errors.

    Photos that are missing or cannot be read are left out, and left_out.json says why. The scan is built aside and
    takes the place of an older one as a whole: when something is wrong with what is read, or the process is killed, the
    older one stays. Where it was made from the same, nothing is done.
    """
    check_outdir(outdir, PHOTO_NAMES, (*_RESULTS, MASK_FOLDER, "pair.txt"))
    folders = images if isinstance(images, PhotoFolders) else PhotoFolders((images,))
    left_out = read_left_out(source) if source.is_dir() else {}
    scene, files = with_files(scene, folders, source, remarks, left_out)
    lenses = lenses_of_images(scene, files, options.first_pixel)
    straight = {id(lens): straight_lens(lens, source) for lens in lenses}
    photos = [
        dataclasses.replace(photo, lens=straight[id(lens)]) for photo, lens in zip(scene.photos, lenses, strict=True)
    ]
    scene, ranges, kept = _with_ranges(dataclasses.replace(scene, photos=photos), options, source, remarks, left_out)
    files, lenses = [files[k] for k in kept], [lenses[k] for k in kept]
    masks = ScanMasks(scene.photos, files, lenses, folders)
    pairs = _pairs(scene, options, source)
    facts = _facts(scene, ranges, pairs, lenses, [*files, *filter(None, masks.files)])
    made_from = digest(facts, dataclasses.asdict(options), left_out, remarks.strict)
    if _is_there(outdir, made_from):
        clear_aside(outdir, _OURS)
        print(f"{outdir}: the scan of these photos is there already", flush=True)
        return
    with replaced_folder(outdir, _OURS) as target:
        damaged = set()
        with Progress(len(files), "import") as progress:
            for view, file in enumerate(files):
                try:
                    image = read_image(file, grey16=True)
                except DataError as error:
                    remarks.leave_out(str(error))
                    left_out[scene.photos[view].name] = "cannot be read"
                    damaged.add(view)
                else:
                    number, photo = view - len(damaged), scene.photos[view]
                    size = image_size(photo.lens, options)
                    _write_view(target, number, image, lenses[view], photo, ranges[view], options)
                    inside = masks.of(view, photo.lens, size, remarks)
                    if inside is not None:
                        write_mask(target / MASK_FOLDER / f"{view_name(number)}.png", inside)
                progress.step()
        scene = scene.without(damaged) if damaged else scene
        if len(scene.photos) < 2:
            raise DataError(f"{source}: fewer than two of its photos can be read")
        write_photo_names(target, [photo.name for photo in scene.photos])
        write_left_out(target, left_out)
        keep_record(target / _RECORD, {"made_from": made_from, "views": len(scene.photos)})
        write_pairs(target / "pair.txt", _pairs(scene, options, source) if damaged else pairs)


def _facts(
    scene: PosedPhotos,
    ranges: Sequence[DepthRange],
    pairs: list,
    lenses: Sequence[Lens],
    files: Sequence[Path],
) -> list:
    """All that a scan's files depend on."""
    photos = [[photo.name, photo.cam_T_world.tolist()] for photo in scene.photos]
    bent = [[lens.model, list(lens.distortion), lens.K.tolist(), list(lens.size)] for lens in lenses]
    stats = [[str(file), (stat := file.stat()).st_size, stat.st_mtime_ns] for file in files]
    return [_VERSION, photos, bent, [list(limits) for limits in ranges], pairs, stats]


def _is_there(outdir: Path, made_from: str) -> bool:
    """Whether a folder holds the scan made from this, whole."""
    record = read_record(outdir / _RECORD)
    if record.get("made_from") != made_from or not (outdir / "pair.txt").exists():
        return False
    return all((outdir / name).is_dir() and len(list_folder(outdir / name)) == record.get("views") for name in _RESULTS)


def _write_view(
    target: Path, number: int, image: np.ndarray, lens: Lens, photo: PosedPhoto, limits: DepthRange, options: Options
) -> None:
    """Write a view's straightened image and its camera under a number."""
    image = straighten(image, lens, photo.lens)
    written = photo.lens.scaled(image_size(photo.lens, options))
    if written.size != photo.lens.size:
        image = cv2.resize(image, written.size, interpolation=cv2.INTER_AREA)
    camera = Camera(written.pixel_K(), photo.cam_T_world, depth_line(limits, options.numdepth))
    write_camera(target / "cams" / f"{number:08d}_cam.txt", camera, np.float64)
    write_image(target / "images" / f"{number:08d}.jpg", image, quality=98)


def _pairs(scene: PosedPhotos, options: Options, source: Path) -> list[tuple[int, list[tuple[int, float]]]]:
    pairs = best_sources(pair_scores(scene), options.sources)
    if not any(sources for _, sources in pairs):
        raise DataError(f"{source}: no two photos of it see the same points")
    return pairs


def scan_of_photos(model: Path, folder: Path) -> tuple[Layout, list[str]]:
    """Write the scan of posed photos (`read_posed_photos`) to a folder; returns its layout and its name."""
    scene, images = read_posed_photos(model)
    import_scan(scene, images, folder, Options(), model)
    forget_files()
    layout = SingleScan(folder)
    return layout, layout.scans("all")


def image_size(lens: Lens, options: Options) -> tuple[int, int]:
    """The size at which an image is written: its own, or what fits when it is too large."""
    limits = turned_size(*lens.size, options.max_size)
    fits = all(side <= most for side, most in zip(lens.size, limits, strict=True))
    return lens.size if fits else fitted_size(*lens.size, options.max_size)


def depth_line(limits: DepthRange, numdepth: int) -> tuple[float, ...]:
    """A camera file's last line: depth_min, interval, number of depths, depth_max (docs/formats.md)."""
    return limits[0], (limits[1] - limits[0]) / numdepth, float(numdepth), limits[1]


def _with_ranges(
    scene: PosedPhotos, options: Options, source: Path, remarks: Remarks, why: dict[str, str]
) -> tuple[PosedPhotos, list[DepthRange], list[int]]:
    """The photos that have a depth range, with points if there were none; their ranges; their places among all."""
    everyone = list(range(len(scene.photos)))
    if len(scene.points) and not has_shared_points(scene):
        remarks.say(f"{source}: no point of it says that two photos see it; the points are projected into the photos")
        scene = with_projected_points(scene)
        if not has_shared_points(scene):
            remarks.say(f"{source}: its points are in no two photos; they are not used")
            scene = dataclasses.replace(scene, points=np.empty((0, 3)), tracks=np.empty((0, 2), np.int64))
    if len(scene.points) == 0:
        known = [options.depths] * len(everyone) if options.depths else scene.ranges
        ranges = list(known or camera_depth_ranges(scene.photos, source))
        return with_stand_in_points(scene.photos, ranges, source), ranges, everyone
    ranges = [options.depths] * len(everyone) if options.depths else depth_ranges(scene)
    left_out = {k for k, limits in enumerate(ranges) if limits is None}
    if left_out:
        names = named([scene.photos[k].name for k in sorted(left_out)])
        why |= {scene.photos[k].name: "sees too few points of which others tell the depth" for k in left_out}
        print(f"left out, for they see too few points: {names}", flush=True)
    kept = [k for k in everyone if k not in left_out]
    if len(kept) < 2:
        raise DataError(f"{source}: fewer than two of its photos see points; was the model made from these photos?")
    return scene.without(left_out), [ranges[k] for k in kept], kept


def named(names: list[str]) -> str:
    """A list of names for a message of one line."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def with_files(
    scene: PosedPhotos, folders: PhotoFolders, source: Path, remarks: Remarks, why: dict[str, str]
) -> tuple[PosedPhotos, list[Path]]:
    """The photos whose files are there and begin like images, and these files; `why` gets what others lack."""
    files = [folders.find(photo.name) for photo in scene.photos]
    missing = {k for k, file in enumerate(files) if file is None}
    if missing:
        names = named([scene.photos[k].name for k in sorted(missing)])
        problem = f"{folders}: lacks {len(missing)} of the model's {len(files)} photos ({names})"
        if len(files) - len(missing) < 2:
            raise DataError(f"{problem}; say with --images where they are")
        remarks.leave_out(f"{problem}; say with --images if they are elsewhere")
        why |= {scene.photos[k].name: "its file is missing" for k in missing}
    for k, file in enumerate(files):
        if file is not None:
            try:
                read_image_size(file)
            except DataError as error:
                remarks.leave_out(str(error))
                why[scene.photos[k].name] = "cannot be read"
                missing.add(k)
    if len(files) - len(missing) < 2:
        raise DataError(f"{source}: fewer than two of its photos can be read")
    kept = [file for k, file in enumerate(files) if k not in missing]
    _check_twice(scene.without(missing), kept, source)
    return scene.without(missing), kept


def _check_twice(scene: PosedPhotos, files: Sequence[Path], source: Path) -> None:
    """Raise DataError when two photos of the model have led to one file: names that are alike but for their folders."""
    first: dict[str, str] = {}
    for photo, file in zip(scene.photos, files, strict=True):
        other = first.setdefault(os.path.realpath(file), photo.name)
        if other != photo.name:
            raise DataError(f"{source}: its photos {other} and {photo.name} are both {file}; keep the folders apart")


def lenses_of_images(scene: PosedPhotos, files: Sequence[Path], first_pixel: float = 0.5) -> list[Lens]:
    """Each photo's lens at the size of its file, which may have been scaled since; equal lenses are one object."""
    lenses = {}
    pairs = zip(scene.photos, files, strict=True)
    return [_lens_of_image(lenses, photo.lens, file, first_pixel) for photo, file in pairs]


def _lens_of_image(lenses: dict, lens: Lens, path: Path, first_pixel: float) -> Lens:
    size = read_image_size(path)
    key = lens.size, lens.K.tobytes(), lens.distortion, lens.model, size
    if key not in lenses:
        if abs(size[0] * lens.size[1] - size[1] * lens.size[0]) > 2 * max(size[0], lens.size[0]):
            raise DataError(
                f"{path}: is {size[0]}x{size[1]}, but its camera has {lens.size[0]}x{lens.size[1]} in the model: "
                "it was cropped or rotated; give the photos the model was made from"
            )
        shift = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 0]]) * (0.5 - first_pixel)
        lenses[key] = dataclasses.replace(lens, K=lens.K + shift).scaled(size)
    return lenses[key]


def check_outdir(outdir: Path, record: str, results: tuple[str, ...]) -> None:
    """Raise DataError when an output folder has files or folders in `results` that are not ours; ours have a record."""
    for name in results:
        path = outdir / name
        if (outdir / record).exists() or not path.exists():
            continue
        if path.is_file():
            raise DataError(f"{path}: was not made by this program; choose another --outdir")
        if list_folder(path):
            raise DataError(f"{path}: holds files that this program did not make; choose another --outdir")

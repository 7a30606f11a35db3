"""A folder of ordinary photos becomes a COLMAP model."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import cv2

from datasets.files import DataError, list_folder, read_json, write_json
from datasets.formats.colmap import find_model
from datasets.formats.images import read_photo, write_image
from datasets.formats.kinds import VIDEO_ADVICE, VIDEO_SUFFIXES, is_video
from datasets.photos.folders import PHOTO_SUFFIXES
from datasets.photos.posed import check_photo_name
from datasets.photos.remarks import Remarks
from tools.photos.importing import check_outdir, named
from tools.photos.settings import PoseSettings
from tools.photos.sfm import Group, Poses, find_poses, import_pycolmap
from tools.runtime.program import Progress

_OTHER_SUFFIXES = (
    *(".tif", ".tiff", ".webp", ".avif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".bmp", ".gif"),
    *VIDEO_SUFFIXES,
)


_RECORD = "poses.json"


_ADVICE = "take photos between these and the others, each sharing two thirds with the next"

_FEWEST = 2  # photos of which there can be poses


def photos_to_poses(folder: Path, outdir: Path, settings: PoseSettings) -> int:
    """Find the poses of a folder's photos: a COLMAP model in outdir/sparse/0, upright photos in outdir/images.

    Where they are there already, made from the same photos and settings, nothing is done. Returns the number of photos
    in the folder. Raises DataError when there are too few, none fit together, or pycolmap is missing.
    """
    names = find_photos(folder)
    record = _made_from(settings, folder, names)
    check_outdir(outdir, _RECORD, ("images", "sparse"))
    with contextlib.suppress(DataError):
        if find_model(outdir) and read_json(outdir / _RECORD) == record:
            print(f"{outdir}: the poses of these photos are there already", flush=True)
            return len(names)
    import_pycolmap()
    write_json(outdir / _RECORD, {})  # from here on the folder is ours, and not finished
    shutil.rmtree(outdir / "images", ignore_errors=True)
    groups = prepare_photos(folder, names, outdir / "images", settings.max_side, Remarks(settings.strict))
    poses = find_poses(outdir / "images", groups, outdir, settings.matching, settings.seed, settings.threads or -1)
    print_poses(poses, [name for group in groups for name in group.names])
    write_json(outdir / _RECORD, record)
    return len(names)


def find_photos(folder: Path) -> list[str]:
    """The names of the photos in a folder and the folders in it; raises DataError for fewer than two."""
    if folder.is_file():
        if is_video(folder):
            raise DataError(f"{folder}: is a video, not a folder of photos; {VIDEO_ADVICE}")
        raise DataError(f"{folder}: is a file, not a folder of photos; give its folder")
    names = _names_below(folder)
    photos = [name for name in names if name.lower().endswith(PHOTO_SUFFIXES)]
    others = [name for name in names if name.lower().endswith(_OTHER_SUFFIXES)]
    if len(photos) < _FEWEST:
        count = "only one photo" if photos else "no photos"
        videos = [name for name in others if is_video(folder / name)]
        hint = f"; save {named(others)} as JPEG" if others else "; put at least three overlapping ones there"
        if videos:
            hint = f"; {named(videos)} is a video: {VIDEO_ADVICE}"
        raise DataError(f"{folder}: holds {count} (.jpg, .jpeg, .jfif, .png or .heic){hint}")
    if others:
        print(f"not used, neither JPEG nor PNG: {named(others)}", flush=True)
    for name in photos:
        if check_photo_name(name, folder) != name:
            raise DataError(f"{folder}: the photo's name {name[:60]!a} holds a backslash or a drive; rename the photo")
    return photos


def _names_below(folder: Path) -> list[str]:
    """The files in a folder and in the folders in it, by their ways from it with slashes, without hidden ones."""
    names = []
    for name in list_folder(folder):
        path = folder / name
        if name.startswith(".") or name == "__MACOSX":
            continue
        if path.is_dir() and not path.is_symlink():
            names += [f"{name}/{below}" for below in _names_below(path)]
        elif not path.is_dir():
            names.append(name)
    return names


def prepare_photos(
    folder: Path, names: list[str], target: Path, max_side: int, remarks: Remarks = Remarks()
) -> list[Group]:
    """Write the photos upright and at most so large to a folder; returns them grouped by camera and size.

    Photos that cannot be read are left out; the names in the groups are those written, JPEG or PNG.
    """
    groups: dict[tuple, list[str]] = {}
    written: set[str] = set()
    with contextlib.closing(Progress(len(names), "photos", unit="photo")) as progress:
        for name in names:
            progress.step()
            try:
                image, info = read_photo(folder / name)
            except DataError as error:
                remarks.leave_out(f"{error}; remove this photo or save it again")
                continue
            height, width = image.shape[:2]
            scale = min(1.0, max_side / max(width, height))
            size = max(1, round(width * scale)), max(1, round(height * scale))
            if size != (width, height):
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            new_name = _written_name(name, written | set(names))
            written.add(new_name)
            write_image(target / new_name, image, quality=98)
            focal = None if info.focal is None else round(info.focal * max(size), 2)
            groups.setdefault((size, focal, info.camera), []).append(new_name)
    if len(written) < _FEWEST:
        raise DataError(f"{folder}: fewer than two of its {len(names)} photos can be read")
    return [Group(members, size, focal) for (size, focal, _), members in groups.items()]


def _written_name(name: str, taken: set[str]) -> str:
    """The name under which a photo is written: its own where it ends as JPEG and PNG do, else with .jpg."""
    if name.lower().endswith((".jpg", ".jpeg", ".png")):
        return name
    stem = name.rsplit(".", 1)[0]
    return f"{stem}.jpg" if f"{stem}.jpg" not in taken else f"{name}.jpg"


def _made_from(settings: PoseSettings, folder: Path, names: list[str]) -> dict[str, Any]:
    """What the poses depend on."""
    stats = {name: (folder / name).stat() for name in names}
    photos = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
    return {"photos": photos, "max_side": settings.max_side, "matching": settings.matching, "seed": settings.seed}


def print_poses(poses: Poses, names: list[str]) -> None:
    """Say which photos have a pose, and what to do about those that have none."""
    best, *others = poses.models
    print(
        f"poses: {len(best)} of {len(names)} photos, {poses.points} points, error {poses.error:.2f} pixels", flush=True
    )
    known = set(best)
    for other in others:
        apart = [name for name in other if name not in known]
        if apart:
            print(f"left out, a group that does not connect to the larger one: {named(apart)}; {_ADVICE}", flush=True)
            known.update(apart)
    missing = [name for name in names if name not in known]
    if missing:
        print(f"left out, without a pose: {named(missing)}; {_ADVICE}, or remove them if blurred", flush=True)

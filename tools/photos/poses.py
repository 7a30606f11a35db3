"""A folder of ordinary photos becomes a COLMAP model."""

import contextlib
from pathlib import Path
from typing import Any

import cv2

from datasets.files import DataError, list_folder, read_json, write_json
from datasets.formats.colmap import find_model
from datasets.formats.images import read_photo, write_image
from datasets.photos.posed import check_photo_name
from tools.photos.importing import check_outdir, named
from tools.photos.settings import PoseSettings
from tools.photos.sfm import Group, Poses, find_poses, import_pycolmap
from tools.runtime.program import Progress

_SUFFIXES = (".jpg", ".jpeg", ".png")


_OTHER_SUFFIXES = (".heic", ".heif", ".tif", ".tiff", ".webp", ".dng", ".cr2", ".nef", ".arw", ".bmp", ".mp4", ".mov")


_RECORD = "poses.json"


_ADVICE = "take photos between these and the others, each sharing two thirds with the next"


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
    for path in (outdir / "images").glob("*"):
        path.unlink()
    groups = prepare_photos(folder, names, outdir / "images", settings.max_side)
    poses = find_poses(outdir / "images", groups, outdir, settings.matching, settings.seed, settings.threads or -1)
    report(poses, names)
    write_json(outdir / _RECORD, record)
    return len(names)


def find_photos(folder: Path) -> list[str]:
    """The names of a folder's photos; raises DataError for fewer than two."""
    names = list_folder(folder)
    photos = [name for name in names if name.lower().endswith(_SUFFIXES) and not name.startswith(".")]
    others = [name for name in names if name.lower().endswith(_OTHER_SUFFIXES)]
    if len(photos) < 2:
        count = "only one photo" if photos else "no photos"
        hint = f"; save {named(others)} as JPEG" if others else "; put at least three overlapping ones there"
        raise DataError(f"{folder}: holds {count} (.jpg, .jpeg or .png){hint}")
    if others:
        print(f"not used, neither JPEG nor PNG: {named(others)}", flush=True)
    return [check_photo_name(name, folder) for name in photos]


def prepare_photos(folder: Path, names: list[str], target: Path, max_side: int) -> list[Group]:
    """Write the photos upright and at most so large to a folder; returns them grouped by camera and size."""
    groups: dict[tuple, list[str]] = {}
    with contextlib.closing(Progress(len(names), "photos", unit="photo")) as progress:
        for name in names:
            try:
                image, info = read_photo(folder / name)
            except DataError as error:
                raise DataError(f"{error}; remove this photo or save it again") from None
            height, width = image.shape[:2]
            scale = min(1.0, max_side / max(width, height))
            size = max(1, round(width * scale)), max(1, round(height * scale))
            if size != (width, height):
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            write_image(target / name, image, quality=98)
            focal = None if info.focal is None else round(info.focal * max(size), 2)
            groups.setdefault((size, focal, info.camera), []).append(name)
            progress.step()
    return [Group(members, size, focal) for (size, focal, _), members in groups.items()]


def _made_from(settings: PoseSettings, folder: Path, names: list[str]) -> dict[str, Any]:
    """What the poses depend on."""
    stats = {name: (folder / name).stat() for name in names}
    photos = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
    return {"photos": photos, "max_side": settings.max_side, "matching": settings.matching, "seed": settings.seed}


def report(poses: Poses, names: list[str]) -> None:
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

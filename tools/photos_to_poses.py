"""Camera poses of ordinary photos: a COLMAP model from a folder of JPEG or PNG files, on the CPU.

    python tools/photos_to_poses.py --photos FOLDER --outdir POSES
    python tools/import_colmap.py --model POSES --outdir SCANS/my_scene

Photos of any sizes are turned upright as their EXIF data says, scaled down to --max_side and written to POSES/images;
the model goes to POSES/sparse/0. Photos of one size, camera and focal length share a lens; EXIF's focal length is used
where there is one. Of several groups of photos that do not connect, the largest is taken. A rerun with the same photos
and settings does nothing. Needs pycolmap (requirements-photos.txt).
"""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

import cv2

if not __package__:  # run as a file: find the packages beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.colmap_reader import find_model
from datasets.files import DataError, list_folder, read_json, write_json
from datasets.image_reader import read_photo
from datasets.io import write_image
from datasets.posed_photos import check_photo_name
from tools.import_colmap import check_outdir, named
from tools.program import Formatter, Progress, natural_int, positive_int, run_program
from tools.sfm import EXHAUSTIVE_UP_TO, Group, Poses, find_poses, import_pycolmap

_SUFFIXES = (".jpg", ".jpeg", ".png")
_OTHER_SUFFIXES = (".heic", ".heif", ".tif", ".tiff", ".webp", ".dng", ".cr2", ".nef", ".arw", ".bmp", ".mp4", ".mov")
_RECORD = "poses.json"
_ADVICE = "take photos between these and the others, each sharing two thirds with the next"


def parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--photos", required=True, help="folder of photos, JPEG or PNG")
    parser.add_argument("--outdir", required=True, help="folder for the upright photos and the model")
    parser.add_argument("--max_side", type=positive_int, default=1600, help="longest side of the photos used, pixels")
    parser.add_argument(
        "--matching",
        choices=("auto", "exhaustive", "sequential"),
        default="auto",
        help=f"auto: every pair of up to {EXHAUSTIVE_UP_TO} photos, of more the neighbours in the order of names",
    )
    parser.add_argument("--seed", type=natural_int, default=0, help="seed of random choices")
    parser.add_argument("--threads", type=positive_int, help="threads (default: one per core)")
    return parser.parse_args()


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


def settings_of(flags: argparse.Namespace, folder: Path, names: list[str]) -> dict[str, Any]:
    """What the poses depend on."""
    stats = {name: (folder / name).stat() for name in names}
    photos = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
    return {"photos": photos, "max_side": flags.max_side, "matching": flags.matching, "seed": flags.seed}


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


def main() -> None:
    flags = parse_flags()
    folder, outdir = Path(flags.photos), Path(flags.outdir)
    names = find_photos(folder)
    settings = settings_of(flags, folder, names)
    check_outdir(outdir, _RECORD, ("images", "sparse"))
    with contextlib.suppress(DataError):
        if find_model(outdir) and read_json(outdir / _RECORD) == settings:
            print(f"{outdir}: the poses of these photos are there already", flush=True)
            return
    import_pycolmap()
    write_json(outdir / _RECORD, {})  # from here on the folder is ours, and not finished
    for path in (outdir / "images").glob("*"):
        path.unlink()
    groups = prepare_photos(folder, names, outdir / "images", flags.max_side)
    poses = find_poses(outdir / "images", groups, outdir, flags.matching, flags.seed, flags.threads or -1)
    report(poses, names)
    write_json(outdir / _RECORD, settings)


if __name__ == "__main__":
    run_program(main)

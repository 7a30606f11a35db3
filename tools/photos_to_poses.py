"""Camera poses of ordinary photos: a COLMAP model from a folder of JPEG or PNG files, on the CPU.

    python tools/photos_to_poses.py --photos FOLDER --outdir POSES
    python tools/import_colmap.py --model POSES --outdir SCANS/my_scene

Photos of any sizes, also in subfolders, and HEIC where pillow-heif is installed, are turned upright as their EXIF data
says, scaled down to --max_side and written to POSES/images; the model goes to POSES/sparse/0. Photos of one size,
camera and focal length share a lens; EXIF's focal length is used where there is one. Of several groups of photos that
do not connect, the largest is taken. A photo that cannot be read is left out, and named; --strict refuses it. A rerun
with the same photos and settings does nothing. Needs pycolmap (requirements-photos.txt).
"""

import argparse
import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError, read_json, write_json
from datasets.formats.colmap import find_model
from datasets.photos.remarks import Remarks
from tools.photos.importing import check_outdir
from tools.photos.poses import _RECORD, find_photos, prepare_photos, print_poses, settings_of
from tools.photos.sfm import EXHAUSTIVE_UP_TO, find_poses, import_pycolmap
from tools.runtime.limits import LARGEST_SIDE, MOST_WORKERS, SMALLEST_SIDE
from tools.runtime.program import Formatter, run_program, whole_number

_LARGEST_SEED = 2**31 - 1  # that pycolmap takes


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--photos", required=True, help="folder of photos, JPEG or PNG, and HEIC with pillow-heif")
    parser.add_argument("--outdir", required=True, help="folder for the upright photos and the model")
    side = whole_number(SMALLEST_SIDE, LARGEST_SIDE)
    parser.add_argument("--max_side", type=side, default=1600, help="longest side of the photos used, pixels")
    parser.add_argument(
        "--matching",
        choices=("auto", "exhaustive", "sequential"),
        default="auto",
        help=f"auto: every pair of up to {EXHAUSTIVE_UP_TO} photos, of more the neighbours in the order of names",
    )
    parser.add_argument("--strict", action="store_true", help="refuse photos that cannot be read, and leave none out")
    parser.add_argument("--seed", type=whole_number(0, _LARGEST_SEED), default=0, help="seed of random choices")
    parser.add_argument("--threads", type=whole_number(1, MOST_WORKERS), help="threads (default: one per core)")
    return parser.parse_args(argv)


def main() -> None:
    flags = parse()
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
    shutil.rmtree(outdir / "images", ignore_errors=True)
    groups = prepare_photos(folder, names, outdir / "images", flags.max_side, Remarks(flags.strict))
    names = [name for group in groups for name in group.names]
    poses = find_poses(outdir / "images", groups, outdir, flags.matching, flags.seed, flags.threads or -1)
    print_poses(poses, names)
    write_json(outdir / _RECORD, settings)


if __name__ == "__main__":
    run_program(main)

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
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError, read_json, write_json
from datasets.formats.colmap import find_model
from tools.photos.importing import check_outdir
from tools.photos.poses import _RECORD, find_photos, prepare_photos, print_poses, settings_of
from tools.photos.sfm import EXHAUSTIVE_UP_TO, find_poses, import_pycolmap
from tools.runtime.program import Formatter, natural_int, positive_int, run_program


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
    print_poses(poses, names)
    write_json(outdir / _RECORD, settings)


if __name__ == "__main__":
    run_program(main)

"""Camera poses of ordinary photos: a COLMAP model from a folder of JPEG or PNG files, on the CPU.

    python tools/photos_to_poses.py --photos FOLDER --outdir POSES
    python tools/import_colmap.py --model POSES --outdir SCANS/my_scene

Photos of any sizes are turned upright as their EXIF data says, scaled down to --max_side and written to POSES/images;
the model goes to POSES/sparse/0. Photos of one size, camera and focal length share a lens; EXIF's focal length is used
where there is one. Of several groups of photos that do not connect, the largest is taken. A rerun with the same photos
and settings does nothing. Needs pycolmap (requirements-photos.txt).
"""

import argparse
from pathlib import Path

import _checkout  # noqa: F401

from tools.photos.flags import add_pose_flags, pose_settings
from tools.photos.poses import photos_to_poses
from tools.photos.settings import PoseSettings
from tools.runtime.program import Formatter, run_program


def main() -> None:
    """Parse the flags and find the poses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos, JPEG or PNG")
    parser.add_argument("--outdir", type=Path, required=True, help="folder for the upright photos and the model")
    add_pose_flags(parser, PoseSettings())
    args = parser.parse_args()
    photos_to_poses(args.photos, args.outdir, pose_settings(args))


if __name__ == "__main__":
    run_program(main)

"""Camera poses of ordinary photos, or of a video: a COLMAP model from a folder of photos, on the CPU.

    python tools/photos_to_poses.py --photos FOLDER --outdir POSES
    python tools/import_colmap.py --model POSES --outdir SCANS/my_scene

Photos of any sizes, also in subfolders, and HEIC where pillow-heif is installed, are turned upright as their EXIF data
says, scaled down to --max_side and written to POSES/images; the model goes to POSES/sparse/0. Of a video, or a folder
of videos, sharp frames are taken, an equal way apart. Masks beside the photos (masks/a.png, masks/a.jpg.png or
a_mask.png) limit features to what is white in them. Photos of one size, camera and focal length share a lens; EXIF's
focal length is used where there is one. Where some photos find no pose fewer matches and fainter features are tried; of
several groups of photos that do not connect, the largest is taken. A photo that cannot be read is left out, and named;
--strict refuses it. POSES/left_out.json says why photos are not in the model. A rerun with the same photos and settings
does nothing, and goes on where one was cut off. Needs pycolmap (requirements-photos.txt).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from tools.photos.flags import add_pose_flags, pose_settings
from tools.photos.settings import PoseSettings
from tools.runtime.program import Formatter, run_program


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, PoseSettings]:
    """The flags, and how they say to find poses; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    photos = "folder of photos, JPEG or PNG, and HEIC with pillow-heif; or a video"
    parser.add_argument("--photos", type=Path, required=True, help=photos)
    parser.add_argument("--outdir", type=Path, required=True, help="folder for the upright photos and the model")
    add_pose_flags(parser, PoseSettings())
    args = parser.parse_args(argv)
    return args, pose_settings(args)


def main() -> None:
    """Parse the flags and find the poses."""
    args, settings = parse()

    from tools.photos.poses import photos_to_poses

    photos_to_poses(args.photos, args.outdir, settings)


if __name__ == "__main__":
    run_program(main)

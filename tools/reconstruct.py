"""From a folder of ordinary photos, or a video, to a coloured cloud and pages that show it, and a verdict.

    python tools/reconstruct.py --photos FOLDER --outdir OUT

It does what tools/photos_to_poses.py, tools/import_colmap.py, test.py and tools/report.py do one after the other; of a
folder with a transforms.json the poses are kept. OUT/poses holds the COLMAP model, OUT/scans/NAME the scan in the test
layout, OUT/depth depth maps, cloud and report; OUT/depth/NAME/verdict.json tells what share of the photos and pixels
became points, and what to do. A rerun goes on where the last one was. Under torchrun the processes share the depth.
Needs pycolmap (requirements-photos.txt).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from fusion.mesh.settings import MeshSettings
from tools.photos.flags import add_pose_flags, pose_settings
from tools.photos.settings import ReconstructionSettings
from tools.prediction.flags import (
    add_fusion_flags,
    add_prediction_flags,
    add_refine_flag,
    fusion_settings,
    prediction_settings,
)
from tools.runtime.flags import SHIPPED_CHECKPOINT
from tools.runtime.program import Formatter, run_program


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, ReconstructionSettings]:
    """The flags, and how they say to reconstruct; DataError for values that cannot work."""
    defaults = ReconstructionSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos, or a video")
    parser.add_argument("--outdir", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--name", help="of the scan and its cloud (default: the folder's)")
    parser.add_argument("--loadckpt", default=SHIPPED_CHECKPOINT, help="checkpoint of a teacher or a student")
    add_pose_flags(parser, defaults.poses)
    add_prediction_flags(parser, defaults.prediction, several_scans=False)
    add_refine_flag(parser, defaults.refine)
    add_fusion_flags(parser, defaults.fusion)
    parser.add_argument(
        "--mesh",
        action="store_true",
        help="also a mesh with a texture; needs Open3D (tools/make_mesh.py has its settings)",
    )
    parser.set_defaults(num_consistent=None)  # what suits the set
    args = parser.parse_args(argv)
    fit = args.num_consistent is None
    args.num_consistent = defaults.fusion.num_consistent if fit else args.num_consistent
    prediction = prediction_settings(args, defaults.prediction, light=None)
    mesh = MeshSettings(texture=True) if args.mesh else None
    return args, ReconstructionSettings(pose_settings(args), prediction, fusion_settings(args), args.refine, fit, mesh)


def main() -> None:
    """Parse the flags and reconstruct."""
    args, settings = parse()

    from tools.photos.reconstruct import reconstruct  # loads torch, which --help and mistaken flags need not wait for

    made = reconstruct(args.photos, args.outdir, args.loadckpt, settings, args.device, args.name)
    cloud = "none made (--filter_method none)" if made.cloud is None else made.cloud
    print(f"views: {made.scan} (photos.json says which photo is which), depth: {made.depth}, cloud: {cloud}")


if __name__ == "__main__":
    run_program(main)

"""Turn photos with known poses into a scan in the test layout: cams/, images/, pair.txt.

    python tools/import_colmap.py --model WORKSPACE --outdir SCANS/my_scene         (WORKSPACE/sparse/0 and /images)
    python tools/import_colmap.py --model MODEL --images PHOTOS --outdir SCANS/my_scene
    python tools/import_colmap.py --model NERF/transforms.json --outdir SCANS/my_scene
    python tools/import_colmap.py --model templeRing/templeR_par.txt --outdir SCANS/my_scene

--model is a folder or file of COLMAP, NeRF (transforms.json), OpenMVG, Meshroom, Metashape, Bundler, VisualSFM, LLFF,
NeuS, Middlebury or Strecha; docs/formats.md has them all. Photos are taken by their names from --images or from beside
the model, and those of distorted lenses are straightened. Views are numbered by their photos' names; which is which
stands in photos.json. Pairs are scored as MVSNet does, depth ranges come from the points that a view sees. Of formats
without points pairs are scored by overlap and viewing angle, and the depth range is half to one and a half times the
distance to the point that all cameras look at, unless the format or --depth_min and --depth_max give it. A missing or
damaged photo, point or points file is left out, and named; --strict refuses it. An older scan is replaced when the new
one is complete.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError
from datasets.photos.remarks import Remarks
from tools.photos.importing import Options, import_scan, read_posed_photos
from tools.runtime.flags import add_size_flags
from tools.runtime.limits import MOST_DEPTHS, MOST_VIEWS, check_size
from tools.runtime.program import Formatter, positive_float, run_program, whole_number


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, Options]:
    """The flags, and how they say to import; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--model", required=True, help="folder or file of a model: COLMAP, transforms.json, ...")
    parser.add_argument("--images", help="folder of the photos (default: images, input, ... beside the model)")
    parser.add_argument("--outdir", required=True, help="the scan's folder, to be made")
    parser.add_argument(
        "--num_src", type=whole_number(1, MOST_VIEWS), default=10, help="source views listed for each view"
    )
    add_size_flags(parser, 1600, 1200)
    group = parser.add_argument_group("depth range, in the model's unit")
    group.add_argument("--numdepth", type=whole_number(2, MOST_DEPTHS), default=192, help="depth values over the range")
    group.add_argument("--depth_min", type=positive_float, help="nearest depth of all views, instead of the points'")
    group.add_argument("--depth_max", type=positive_float, help="farthest depth of all views")
    parser.add_argument(
        "--first_pixel",
        type=float,
        choices=(0.0, 0.5),
        default=0.5,
        help="centre of the first pixel in the model's principal points: COLMAP and NeRF count from 0.5",
    )
    parser.add_argument("--strict", action="store_true", help="refuse what has to be left out, such as missing photos")
    flags = parser.parse_args(argv)
    check_size(flags.max_w, flags.max_h)
    if (flags.depth_min is None) != (flags.depth_max is None):
        raise DataError("--depth_min and --depth_max must be given together")
    depths = None if flags.depth_min is None else (flags.depth_min, flags.depth_max)
    if depths and depths[0] >= depths[1]:
        raise DataError(f"--depth_min {depths[0]:g}: must be below --depth_max {depths[1]:g}")
    return flags, Options((flags.max_w, flags.max_h), flags.num_src, flags.numdepth, depths, flags.first_pixel)


def main() -> None:
    """Parse the flags and import."""
    flags, options = parse()
    remarks, outdir = Remarks(flags.strict), Path(flags.outdir)
    scene, images = read_posed_photos(Path(flags.model), Path(flags.images) if flags.images else None, remarks)
    import_scan(scene, images, outdir, options, Path(flags.model), remarks)
    print(f"{outdir}: a scan; depth: test.py --testpath_single_scene {outdir} --loadckpt CHECKPOINT --outdir RESULTS")


if __name__ == "__main__":
    run_program(main)

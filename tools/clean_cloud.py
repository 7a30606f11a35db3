"""A clean cloud of even spacing from any PLY: without lone points and small islands, in a size that opens anywhere.

    python tools/clean_cloud.py --cloud IN.ply --out OUT.ply
    python tools/clean_cloud.py --cloud IN.ply --out OUT.ply --max_points 500000 --formats ply,laz,glb

Points go that lie far from others, in the cloud's own spacing, and groups of few where nothing else is near; of a cloud
that tells them (`--agreement`), also those of few views or of little confidence. At most --max_points are left, mean
points of even spacing; OUT_all.ply holds all that stay then. Normals, views and confidence are kept. What clouds of
photos lose besides (beyond edges, at flat angles, looked through) needs the depth maps: tools/reconstruct.py and
test.py --clean take them out when they fuse. Memory does not grow with the number of points, but with the surface.
"""

import argparse
import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError
from datasets.formats.ply_clouds import read_cloud_columns
from fusion.options import FOR_PHOTOS, CloudOptions
from tools.prediction.cloud_flags import add_cleaning_flags, add_thinning_flags, chosen_formats, cleaning_of
from tools.runtime.program import Formatter, float_list, fraction, natural_int, run_program

_RULES = ("isolation", "island")


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, CloudOptions]:
    """The flags, and what becomes of the points; DataError for values that cannot be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--cloud", type=Path, required=True, help="PLY to read")
    parser.add_argument("--out", type=Path, required=True, help="PLY to write")
    parser.add_argument("--bbox", type=float_list, help="keep the points in x0,y0,z0,x1,y1,z1")
    parser.add_argument(
        "--least_views", type=natural_int, default=0, help="views that agree on a point, where it tells"
    )
    parser.add_argument("--least_confidence", type=fraction, default=0.0, help="least confidence")
    add_thinning_flags(parser, FOR_PHOTOS)
    add_cleaning_flags(parser, FOR_PHOTOS.cleaning, _RULES)
    args = parser.parse_args(argv)
    if args.out.suffix.lower() != ".ply":
        raise DataError(f"--out {args.out}: must end with .ply; --formats adds others beside it")
    options = CloudOptions(
        bbox=args.bbox,
        voxel=args.voxel,
        max_points=args.max_points,
        seed=args.cloud_seed,
        thinning=args.thinning,
        cleaning=cleaning_of(args),
        formats=chosen_formats(args),
    )
    return args, options


def main() -> None:
    """Parse the flags, clean, write."""
    args, options = parse()
    columns = read_cloud_columns(args.cloud)
    agreement = columns.views and columns.confidence
    for flag, there in (("least_views", columns.views), ("least_confidence", columns.confidence)):
        if getattr(args, flag) and not there:
            raise DataError(f"{args.cloud}: does not tell its points' {flag[6:]}; leave out --{flag}")

    from fusion.files import read_parts  # loads numba, which --help and mistaken flags need not wait for
    from fusion.finish import finish_cloud

    removed = Counter()
    least = (args.least_views, args.least_confidence)
    options = dataclasses.replace(options, normals=columns.normals, agreement=agreement)
    report = finish_cloud(args.out, read_parts(args.cloud, *least, removed), options, removed=removed)
    print(f"{args.out}: {report.points} points{report.remarks} (of {columns.count} in {args.cloud})")


if __name__ == "__main__":
    run_program(main)

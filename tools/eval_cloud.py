"""Precision, recall and F-score of a cloud against a true one in the same frame (Tanks and Temples, ETH3D style).

    python tools/eval_cloud.py --cloud A.ply --truth B.ply --threshold 2,5 --voxel 1 --bbox=-100,-100,0,100,100,300

Precision is the share of the cloud's points nearer to the truth than the threshold, recall the share of the truth's
points nearer to the cloud, F their harmonic mean. Accuracy and completeness are the mean distances in the same two
directions, overall is their mean. --bbox cuts both clouds, then --voxel replaces the points of a voxel by their mean.
Everything is in the clouds' unit. A PLY with faces is a mesh: points on these, a
quarter of the smallest threshold apart, stand for it. Points that are not finite are dropped, and their number is told.
"""

import argparse
import math
from collections.abc import Sequence

import _checkout  # noqa: F401

from datasets.files import DataError, write_json
from fusion.options import CloudOptions
from tools.runtime.program import Formatter, float_list, run_program

# Points on a mesh are apart by this share of the smallest threshold.
_MESH_SPACING = 0.25


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, CloudOptions]:
    """The flags, and how both clouds are cut and thinned; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(prog="python tools/eval_cloud.py", description=__doc__, formatter_class=Formatter)
    add = parser.add_argument
    add("--cloud", required=True, help="PLY file to judge")
    add("--truth", required=True, help="PLY file to judge it by")
    add("--threshold", type=float_list, required=True, help="distances that still count as right, such as 2,5")
    add("--max_dist", type=float, help="distances from this on do not count for accuracy and completeness")
    add("--voxel", type=float, help="edge length of the voxels that thin both clouds")
    add("--bbox", type=float_list, help="cut both clouds: x0,y0,z0,x1,y1,z1 (write --bbox=-1,... for a leading minus)")
    add("--out", help="write the numbers to this JSON file")
    args = parser.parse_args(argv)
    for name in ("threshold", "max_dist"):
        value = getattr(args, name)
        values = value if isinstance(value, tuple) else () if value is None else (value,)
        if value == () or not all(0 < value < math.inf for value in values):
            raise DataError(f"--{name} {','.join(map(str, values))}: must be positive")
    return args, CloudOptions(bbox=args.bbox, voxel=args.voxel)


def format_report(result: dict) -> str:
    """The numbers as text: a row per threshold, then accuracy, completeness and overall."""
    columns = ("precision", "recall", "f_score")
    lines = ["threshold".ljust(12) + "".join(name.replace("_", "-").rjust(12) for name in columns)]
    for threshold, row in result["f_scores"].items():
        lines.append(threshold.ljust(12) + "".join(f"{row[name]:12.2%}" for name in columns))
    for name, label in (("acc", "accuracy"), ("comp", "completeness")):
        counted = f"of {result[f'n_{name}']} points"
        lines.append(f"{label.ljust(12)} mean {result[name]:.4g}, median {result[f'{name}_median']:.4g} {counted}")
    return "\n".join([*lines, f"{'overall'.ljust(12)} {result['overall']:.4g}"])


def main() -> None:
    """Read, compare, print."""
    args, options = parse()

    import numba

    from tools.evaluation.clouds import compare_clouds, read_cut_points

    cloud, truth = (
        read_cut_points(path, options, min(args.threshold) * _MESH_SPACING) for path in (args.cloud, args.truth)
    )
    max_dist = math.inf if args.max_dist is None else args.max_dist
    result = compare_clouds(cloud, truth, args.threshold, max_dist, numba.get_num_threads())
    print(format_report(result))
    if args.out:
        defined = {name: None if value != value else value for name, value in result.items()}  # JSON has no NaN
        write_json(args.out, defined)


if __name__ == "__main__":
    run_program(main)

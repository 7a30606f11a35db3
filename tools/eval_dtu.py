"""Accuracy, completeness and overall of DTU clouds, as the benchmark's MATLAB programs compute them, in mm.

    python tools/eval_dtu.py --data_dir DTU_GROUND_TRUTH --ply_dir OUT/gipuma_pcd --scans lists/dtu/test.txt \\
        --out dtu_score.json

--data_dir holds Points/stl/stl%03d_total.ply, ObsMask/ObsMask%d_10.mat and ObsMask/Plane%d.mat; --ply_dir holds the
clouds of test.py (mvsnet%03d_l3.ply). Points that are not finite are dropped, and their number is told. A PLY with
faces is judged by points on these.

--out has {"scans": {"1": {"acc", "comp", "overall", "acc_median", "comp_median", counts}}, "mean": {...}}, written anew
whenever a scan is finished. A rerun skips scans that were scored with the same settings and from the same files (path,
size and time), so an interrupted evaluation goes on; scores of other settings or files are thrown away. "mean" is over
the scans asked for ("mean_of"), null until all of them are scored.
"""

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError
from tools.runtime.limits import MOST_WORKERS
from tools.runtime.program import Formatter, natural_int, run_program, whole_number

_FINEST = 1e-3  # mm between points


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(prog="python tools/eval_dtu.py", description=__doc__, formatter_class=Formatter)
    add = parser.add_argument
    add("--data_dir", type=Path, required=True, help="folder of the ground truth, with Points/ and ObsMask/")
    add("--ply_dir", type=Path, required=True, help="folder of the clouds")
    add("--scans", default="all", help='numbers such as 1,4,9, a file of scan names, or "all" clouds in --ply_dir')
    add("--out", type=Path, help="write the numbers to this JSON file, and skip what it has when run again")
    add("--seed", type=natural_int, default=1, help="of the random order in which a cloud is thinned")
    add("--dst", type=float, default=0.2, help="thin clouds to this distance between points, mm")
    add("--max_dist", type=float, default=20.0, help="distances from this on do not count, mm, up to 60")
    add(
        "--jobs",
        type=whole_number(1, MOST_WORKERS),
        default=os.cpu_count(),
        help="scans at a time; the cores are shared between them",
    )
    add("--memory_gb", type=float, default=6.0, help="start no further scan beyond this estimate of memory, GB")
    args = parser.parse_args(argv)

    from tools.evaluation.dtu import SEARCH_BLOCK

    if args.dst != 0 and not _FINEST <= args.dst < math.inf:
        raise DataError(f"--dst {args.dst}: must be 0 or a positive distance in mm, from {_FINEST:g} on")
    if not 0 < args.max_dist <= SEARCH_BLOCK:
        raise DataError(f"--max_dist {args.max_dist}: must be above 0 and at most {SEARCH_BLOCK:g} mm")
    if not args.memory_gb > 0:
        raise DataError(f"--memory_gb {args.memory_gb}: must be positive")
    return args


def main() -> None:
    """Score every scan that was asked for and is not scored yet."""
    args = parse()

    from tools.evaluation.dtu import files_of, finished_scores, format_scores, parse_scans, score_missing, write_scores

    files = {scan: files_of(args, scan) for scan in parse_scans(args.scans, args.ply_dir)}
    scores = finished_scores(args)
    write_scores(args, list(files), scores)  # so that a place that cannot be written shows before the work
    failures = score_missing(args, files, scores)
    scored = [scan for scan in files if scan in scores]
    if scored:
        print(format_scores(scores, scored))
    if failures:
        raise DataError(f"{failures[0]}" + (f" (and {len(failures) - 1} more scans failed)" if failures[1:] else ""))


if __name__ == "__main__":
    run_program(main)

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
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError
from tools.evaluation.dtu_settings import DtuSettings
from tools.runtime.limits import MOST_WORKERS
from tools.runtime.program import Formatter, natural_int, run_program, whole_number


def parse(argv: Sequence[str] | None = None) -> tuple[str, DtuSettings]:
    """The scans asked for, and how they are scored; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(prog="python tools/eval_dtu.py", description=__doc__, formatter_class=Formatter)
    add, default = parser.add_argument, DtuSettings
    add("--data_dir", type=Path, required=True, help="folder of the ground truth, with Points/ and ObsMask/")
    add("--ply_dir", type=Path, required=True, help="folder of the clouds")
    add("--scans", default="all", help='numbers such as 1,4,9, a file of scan names, or "all" clouds in --ply_dir')
    add("--out", type=Path, help="write the numbers to this JSON file, and skip what it has when run again")
    add("--seed", type=natural_int, default=default.seed, help="of the random order in which a cloud is thinned")
    add("--dst", type=float, default=default.dst, help="thin clouds to this distance between points, mm")
    add("--max_dist", type=float, default=default.max_dist, help="distances from this on do not count, mm, up to 60")
    add(
        "--jobs",
        type=whole_number(1, MOST_WORKERS),
        default=default.jobs,
        help="scans at a time; the cores are shared between them",
    )
    add(
        "--memory_gb",
        type=float,
        default=default.memory_gb,
        help="start no further scan beyond this estimate of memory, GB",
    )
    flags = vars(parser.parse_args(argv))
    return flags.pop("scans"), DtuSettings(**flags)


def main() -> None:
    """Score every scan that was asked for and is not scored yet."""
    asked, settings = parse()

    from tools.evaluation.dtu import files_of, finished_scores, format_scores, parse_scans, score_missing, write_scores

    files = {scan: files_of(settings, scan) for scan in parse_scans(asked, settings.ply_dir)}
    scores = finished_scores(settings)
    write_scores(settings, list(files), scores)  # so that a place that cannot be written shows before the work
    failures = score_missing(settings, files, scores)
    scored = [scan for scan in files if scan in scores]
    if scored:
        print(format_scores(scores, scored))
    if failures:
        raise DataError(f"{failures[0]}" + (f" (and {len(failures) - 1} more scans failed)" if failures[1:] else ""))


if __name__ == "__main__":
    run_program(main)

"""Accuracy, completeness and overall of DTU clouds, as the benchmark's MATLAB programs compute them, in mm.

    python tools/eval_dtu.py --data_dir DTU_GROUND_TRUTH --ply_dir OUT/gipuma_pcd --scans lists/dtu/test.txt \\
        --out dtu_score.json

--data_dir holds Points/stl/stl%03d_total.ply, ObsMask/ObsMask%d_10.mat and ObsMask/Plane%d.mat; --ply_dir holds the
clouds of test.py (mvsnet%03d_l3.ply). Points that are not finite are dropped, and their number is told.

--out has {"scans": {"1": {"acc", "comp", "overall", "acc_median", "comp_median", counts}}, "mean": {...}}, written anew
whenever a scan is finished. A rerun skips scans that were scored with the same settings and from the same files (path,
size and time), so an interrupted evaluation goes on; scores of other settings or files are thrown away. "mean" is over
the scans asked for ("mean_of"), null until all of them are scored.
"""

import argparse
import contextlib
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import numba

if not __package__:  # run as a file: find the packages beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.files import DataError, list_folder, read_json, read_scan_list, write_json
from datasets.general import cloud_name, scan_number
from datasets.io import read_ply_count
from tools.dtu_score import SEARCH_BLOCK, ScanFiles, scan_files, score_scan
from tools.jobs import Job, run_jobs
from tools.program import Formatter, Progress, natural_int, positive_int, run_program

METRICS = ("acc", "comp", "overall", "acc_median", "comp_median")

# About the peak of an evaluation: the program, and per point of either cloud (measured: 1.4 GB for 10 + 5 million).
_BYTES, _BYTES_PER_POINT = 8e8, 100


def parse_args() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(prog="python tools/eval_dtu.py", description=__doc__, formatter_class=Formatter)
    add = parser.add_argument
    add("--data_dir", type=Path, required=True, help="folder of the ground truth, with Points/ and ObsMask/")
    add("--ply_dir", type=Path, required=True, help="folder of the clouds")
    add("--scans", default="all", help='numbers such as 1,4,9, a file of scan names, or "all" clouds in --ply_dir')
    add("--out", type=Path, help="write the numbers to this JSON file, and skip what it has when run again")
    add("--seed", type=natural_int, default=1, help="of the random order in which a cloud is thinned")
    add("--dst", type=float, default=0.2, help="thin clouds to this distance between points, mm")
    add("--max_dist", type=float, default=20.0, help=f"distances from this on do not count, mm, up to {SEARCH_BLOCK:g}")
    add("--jobs", type=positive_int, default=os.cpu_count(), help="scans at a time; the cores are shared between them")
    add("--memory_gb", type=float, default=6.0, help="start no further scan beyond this estimate of memory, GB")
    args = parser.parse_args()
    if not 0 <= args.dst < math.inf:
        raise DataError(f"--dst {args.dst}: must be 0 or a positive distance in mm")
    if not 0 < args.max_dist <= SEARCH_BLOCK:
        raise DataError(f"--max_dist {args.max_dist}: must be above 0 and at most {SEARCH_BLOCK:g} mm")
    if not args.memory_gb > 0:
        raise DataError(f"--memory_gb {args.memory_gb}: must be positive")
    return args


def parse_scans(text: str, ply_dir: Path) -> list[int]:
    """The numbers of the scans that --scans asks for, each once."""
    if text == "all":
        matches = [re.fullmatch(r"mvsnet([0-9]{3,9})_l3\.ply", name) for name in list_folder(ply_dir)]
        scans = [int(match[1]) for match in matches if match]
        if not scans:
            raise DataError(f"{ply_dir}: holds no cloud named like {cloud_name('scan1')}")
        return scans
    if re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", text):
        return list(dict.fromkeys(int(word) for word in text.split(",")))
    scans = []
    for name in read_scan_list(text):
        number = scan_number(name)
        if number is None:
            raise DataError(f"{text}: {name!r} is not a DTU scan; the list must name scans as scan1, scan4, ...")
        scans.append(number)
    return scans


def made_from(args: argparse.Namespace, files: ScanFiles) -> dict:
    """What a scan's score depends on, as it is recorded beside the score."""
    stats = {str(path.resolve()): path.stat() for path in files}
    settings = {name: getattr(args, name) for name in ("seed", "dst", "max_dist")}
    return settings | {"files": {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()}}


def files_of(args: argparse.Namespace, scan: int) -> ScanFiles:
    """The scan's files; raises DataError naming one that is missing."""
    return scan_files(args.data_dir, args.ply_dir / cloud_name(f"scan{scan}"), scan)


def finished_scores(args: argparse.Namespace) -> dict[int, dict]:
    """The scores in --out, of whichever scans, that were made with the same settings and from the same files."""
    if args.out is None or not args.out.exists():
        return {}
    content = read_json(args.out)
    recorded = content.get("scans") if isinstance(content, dict) else None
    if not isinstance(recorded, dict):
        raise DataError(f"{args.out}: exists and is no result of this program; give another --out")
    scores = {}
    for name, score in recorded.items():
        number = scan_number(f"scan{name}")
        with contextlib.suppress(DataError):  # its files are gone
            if number is None or not _is_score(score):
                continue
            if score["made_from"] == made_from(args, files_of(args, number)):
                scores[number] = score
    return scores


def _is_score(score: Any) -> bool:
    """Whether a recorded score has what is shown of it."""
    return isinstance(score, dict) and "made_from" in score and all(type(score.get(name)) is float for name in METRICS)


def write_scores(args: argparse.Namespace, scans: list[int], scores: dict[int, dict]) -> None:
    """Write --out, where asked for."""
    if args.out is not None:
        means = mean_scores(scores, scans) if scores.keys() >= set(scans) else None
        recorded = {str(scan): score for scan, score in scores.items()}
        write_json(args.out, {"scans": recorded, "mean": means, "mean_of": scans})


def mean_scores(scores: dict[int, dict], scans: list[int]) -> dict[str, float]:
    """The mean of each metric over the scans."""
    return {metric: math.fsum(scores[scan][metric] for scan in scans) / len(scans) for metric in METRICS}


def format_table(scores: dict[int, dict], scans: list[int]) -> str:
    """The metrics of the scans as an aligned table, one row per scan, and their mean."""
    rows = {str(scan): scores[scan] for scan in scans} | {"mean": mean_scores(scores, scans)}
    lines = ["scan".ljust(8) + "".join(metric.replace("_", " ").rjust(13) for metric in METRICS)]
    for name, row in rows.items():
        lines.append(name.ljust(8) + "".join(f"{row[metric]:13.4f}" for metric in METRICS))
    return "\n".join(lines)


def score_missing(args: argparse.Namespace, files: dict[int, ScanFiles], scores: dict[int, dict]) -> list[DataError]:
    """Score the scans that are not in `scores`, add them to it and write them; returns what failed."""
    missing = [scan for scan in files if scan not in scores]
    workers = max(1, min(args.jobs, len(missing)))
    threads = max(1, numba.get_num_threads() // workers)
    jobs, records = {}, {}
    for scan in missing:
        points = read_ply_count(files[scan].cloud) + read_ply_count(files[scan].truth)
        arguments = (files[scan], args.dst, args.max_dist, args.seed, threads)
        jobs[scan] = Job(score_scan, arguments, _BYTES + _BYTES_PER_POINT * points)
        records[scan] = made_from(args, files[scan])  # before the files are read: a later change makes it stale
    failures = []
    progress = Progress(len(missing), "score", unit="scan", every=0)
    for scan, result in run_jobs(jobs, workers, args.memory_gb * 1e9):
        if isinstance(result, DataError):
            failures.append(result)
            progress.step(f"scan {scan} failed: {result}")
            continue
        if result["n_not_finite"]:
            progress.message(f"scan {scan}: dropped {result['n_not_finite']} points that are not finite")
        scores[scan] = result | {"made_from": records[scan]}
        write_scores(args, list(files), scores)
        progress.step(f"scan {scan} overall {result['overall']:.4f}")
    progress.close()
    return failures


def main() -> None:
    """Score every scan that was asked for and is not scored yet."""
    args = parse_args()
    files = {scan: files_of(args, scan) for scan in parse_scans(args.scans, args.ply_dir)}
    scores = finished_scores(args)
    write_scores(args, list(files), scores)  # so that a place that cannot be written shows before the work
    failures = score_missing(args, files, scores)
    scored = [scan for scan in files if scan in scores]
    if scored:
        print(format_table(scores, scored))
    if failures:
        raise DataError(f"{failures[0]}" + (f" (and {len(failures) - 1} more scans failed)" if failures[1:] else ""))


if __name__ == "__main__":
    run_program(main)

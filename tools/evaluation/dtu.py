"""DTU clouds against the structured-light ground truth, as the benchmark's MATLAB programs compare them."""

import contextlib
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np

from datasets.files import DataError, PathLike, list_folder, read_json, read_scan_list, write_json
from datasets.formats.mat import read_mat
from datasets.formats.ply import read_ply_count
from datasets.results import cloud_name, scan_number
from tools.evaluation.clouds import accuracy_completeness, kept_apart, nearest_distances, read_finite_points
from tools.evaluation.dtu_settings import SEARCH_BLOCK, DtuSettings
from tools.runtime.jobs import Job, run_jobs
from tools.runtime.program import Progress

# Where clouds are not thinned a mesh is sampled as if they were to this, mm.
_MESH_SPACING = 0.2


class ScanFiles(NamedTuple):
    """What a scan's score depends on: the cloud, and the three files of the ground truth."""

    cloud: Path
    truth: Path
    mask: Path
    plane: Path


class ObservedSpace(NamedTuple):
    """Where the ground truth is known: its voxels, and the side of the table's plane that counts.

    mask bool [X, Y, Z]; low, high [3] corners of its bounding box, mm; resolution, edge of a voxel, mm;
    plane [4], positive on the counted side.
    """

    mask: np.ndarray
    low: np.ndarray
    high: np.ndarray
    resolution: float
    plane: np.ndarray

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Whether the nearest voxel of each point [N, 3] is observed, bool [N]."""
        inside = np.ones(len(points), bool)
        voxel = np.empty((len(points), 3), np.int32)
        for axis in range(3):
            # Counted from 1 and rounded half up like there; the first voxel's centre is at `low`.
            position = (points[:, axis].astype(np.float64) - self.low[axis]) / self.resolution + 1
            position = np.floor(position + 0.5)
            inside &= (position >= 1) & (position <= self.mask.shape[axis])
            voxel[:, axis] = np.where(inside, position - 1, 0)
        return inside & self.mask[voxel[:, 0], voxel[:, 1], voxel[:, 2]]

    def searched(self, points: np.ndarray) -> np.ndarray:
        """Whether each point [N, 3] lies in the cubes that the official search covers, bool [N]."""
        cubes = np.floor((self.high - self.low) / SEARCH_BLOCK) + 1
        return ((points >= self.low) & (points < self.low + cubes * SEARCH_BLOCK)).all(axis=1)

    def above_plane(self, points: np.ndarray) -> np.ndarray:
        """Whether each point [N, 3] lies on the plane's counted side, bool [N]."""
        return np.dot(points, self.plane[:3]) + self.plane[3] > 0


def scan_files(data_dir: PathLike, cloud: PathLike, number: int) -> ScanFiles:
    """The files of a scan in the layout of DTU's ground truth; raises DataError naming one that is missing."""
    data_dir = Path(data_dir)
    truth = data_dir / "Points" / "stl" / f"stl{number:03d}_total.ply"
    mask, plane = (data_dir / "ObsMask" / name for name in (f"ObsMask{number}_10.mat", f"Plane{number}.mat"))
    files = ScanFiles(Path(cloud), truth, mask, plane)
    for path in files:
        if not path.is_file():
            raise DataError(f"{path}: no such file (needed to score scan {number})")
    return files


def read_observed_space(mask_path: PathLike, plane_path: PathLike) -> ObservedSpace:
    """Read ObsMask<scan>_10.mat and Plane<scan>.mat; raises DataError when they hold something else."""
    arrays = read_mat(mask_path, ("ObsMask", "BB", "Res"))
    mask, box, resolution = arrays["ObsMask"], arrays["BB"].astype(np.float64), arrays["Res"].astype(np.float64)
    if mask.ndim != 3 or box.shape != (2, 3) or resolution.size != 1:
        raise DataError(f"{mask_path}: ObsMask must have 3 dimensions, BB 2x3 numbers and Res one")
    if not (np.isfinite(box).all() and (box[0] < box[1]).all() and 0 < resolution.item() < np.inf):
        raise DataError(f"{mask_path}: BB must hold a lower and an upper corner, and Res a positive number")
    plane = read_mat(plane_path, ("P",))["P"].astype(np.float64).ravel()
    if plane.shape != (4,) or not np.isfinite(plane).all():
        raise DataError(f"{plane_path}: P must hold the four numbers of a plane")
    return ObservedSpace(mask != 0, box[0], box[1], resolution.item(), plane)


def score_cloud(
    cloud: np.ndarray, truth: np.ndarray, space: ObservedSpace, dst: float, max_dist: float, seed: int, threads: int = 1
) -> dict[str, float]:
    """acc, comp, overall, their medians and the counts of a cloud [N, 3] against the truth [M, 3], mm.

    The cloud is thinned to `dst`; the truth is not. Accuracy: from the observed points of the cloud to the truth;
    completeness: from the truth above the plane to the cloud; of either, the distances below `max_dist` (at most
    `SEARCH_BLOCK`). Means and medians are NaN where none counts.
    """
    thinned = cloud[kept_apart(cloud, dst, seed)]
    counted = thinned[space.contains(thinned) & space.searched(thinned)]
    to_truth = nearest_distances(counted, truth, max_dist, threads)
    counted = truth[space.above_plane(truth) & space.searched(truth)]
    to_cloud = nearest_distances(counted, thinned, max_dist, threads)
    counts = {"n_in": len(cloud), "n_reduced": len(thinned), "n_truth": len(truth)}
    return accuracy_completeness(to_truth, to_cloud, max_dist) | counts


def score_scan(files: ScanFiles, dst: float, max_dist: float, seed: int, threads: int) -> dict[str, float]:
    """`score_cloud` of a scan's files, and n_not_finite, how many points of both clouds were dropped as not finite.

    A mesh is sampled densely enough that thinning decides how far its points are apart.

    Raises DataError when a file is damaged, a cloud is empty, or no point counts.
    """
    space = read_observed_space(files.mask, files.plane)
    cloud = read_finite_points(files.cloud, (dst or _MESH_SPACING) / 2)
    truth = read_finite_points(files.truth)
    score = score_cloud(cloud.points, truth.points, space, dst, max_dist, seed, threads)
    score["n_not_finite"] = cloud.dropped + truth.dropped
    for count, what in (("n_acc", "observed point lies"), ("n_comp", "point of the ground truth above the plane lies")):
        if not score[count]:
            other = "the ground truth" if count == "n_acc" else "it"
            raise DataError(
                f"{files.cloud}: no {what} within {max_dist:g} mm of {other}; is the cloud in DTU's frame, in mm?"
            )
    return score


METRICS = ("acc", "comp", "overall", "acc_median", "comp_median")

# About the peak of an evaluation: the program, and per point of either cloud (measured: 1.4 GB for 10 + 5 million).
_BYTES, _BYTES_PER_POINT = 8e8, 100


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


def made_from(settings: DtuSettings, files: ScanFiles) -> dict:
    """What a scan's score depends on, as it is recorded beside the score."""
    stats = {str(path.resolve()): path.stat() for path in files}
    values = {name: getattr(settings, name) for name in ("seed", "dst", "max_dist")}
    return values | {"files": {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()}}


def files_of(settings: DtuSettings, scan: int) -> ScanFiles:
    """The scan's files; raises DataError naming one that is missing."""
    return scan_files(settings.data_dir, settings.ply_dir / cloud_name(f"scan{scan}"), scan)


def finished_scores(settings: DtuSettings) -> dict[int, dict]:
    """The scores in --out, of whichever scans, that were made with the same settings and from the same files."""
    if settings.out is None or not settings.out.exists():
        return {}
    content = read_json(settings.out)
    recorded = content.get("scans") if isinstance(content, dict) else None
    if not isinstance(recorded, dict):
        raise DataError(f"{settings.out}: exists and is no result of this program; give another --out")
    scores = {}
    for name, score in recorded.items():
        number = scan_number(f"scan{name}")
        with contextlib.suppress(DataError):  # its files are gone
            if number is None or not _is_score(score):
                continue
            if score["made_from"] == made_from(settings, files_of(settings, number)):
                scores[number] = score
    return scores


def _is_score(score: Any) -> bool:
    """Whether a recorded score has what is shown of it."""
    return isinstance(score, dict) and "made_from" in score and all(type(score.get(name)) is float for name in METRICS)


def write_scores(settings: DtuSettings, scans: list[int], scores: dict[int, dict]) -> None:
    """Write --out, where asked for."""
    if settings.out is not None:
        means = mean_scores(scores, scans) if scores.keys() >= set(scans) else None
        recorded = {str(scan): score for scan, score in scores.items()}
        write_json(settings.out, {"scans": recorded, "mean": means, "mean_of": scans})


def mean_scores(scores: dict[int, dict], scans: list[int]) -> dict[str, float]:
    """The mean of each metric over the scans."""
    return {metric: math.fsum(scores[scan][metric] for scan in scans) / len(scans) for metric in METRICS}


def format_scores(scores: dict[int, dict], scans: list[int]) -> str:
    """The metrics of the scans as an aligned table, one row per scan, and their mean."""
    rows = {str(scan): scores[scan] for scan in scans} | {"mean": mean_scores(scores, scans)}
    lines = ["scan".ljust(8) + "".join(metric.replace("_", " ").rjust(13) for metric in METRICS)]
    for name, row in rows.items():
        lines.append(name.ljust(8) + "".join(f"{row[metric]:13.4f}" for metric in METRICS))
    return "\n".join(lines)


def score_missing(settings: DtuSettings, files: dict[int, ScanFiles], scores: dict[int, dict]) -> list[DataError]:
    """Score the scans that are not in `scores`, add them to it and write them; returns what failed."""
    missing = [scan for scan in files if scan not in scores]
    workers = max(1, min(settings.jobs, len(missing)))
    threads = max(1, numba.get_num_threads() // workers)
    jobs, records = {}, {}
    for scan in missing:
        points = read_ply_count(files[scan].cloud) + read_ply_count(files[scan].truth)
        arguments = (files[scan], settings.dst, settings.max_dist, settings.seed, threads)
        jobs[scan] = Job(score_scan, arguments, _BYTES + _BYTES_PER_POINT * points)
        records[scan] = made_from(settings, files[scan])  # before the files are read: a later change makes it stale
    failures = []
    progress = Progress(len(missing), "score", unit="scan", every=0)
    for scan, result in run_jobs(jobs, workers, settings.memory_gb * 1e9):
        if isinstance(result, DataError):
            failures.append(result)
            progress.step(f"scan {scan} failed: {result}")
            continue
        if result["n_not_finite"]:
            progress.message(f"scan {scan}: dropped {result['n_not_finite']} points that are not finite")
        scores[scan] = result | {"made_from": records[scan]}
        write_scores(settings, list(files), scores)
        progress.step(f"scan {scan} overall {result['overall']:.4f}")
    progress.close()
    return failures

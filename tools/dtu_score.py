"""One DTU cloud against the structured-light ground truth, as the benchmark's MATLAB programs compare them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.files import DataError, PathLike
from datasets.io import read_mat
from tools.cloud_metrics import accuracy_completeness, nearest_distances, read_points, thin

# The official search goes through the bounding box in cubes of this edge; no distance beyond it is ever found, mm.
SEARCH_BLOCK = 60.0


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
    thinned = cloud[thin(cloud, dst, seed)]
    counted = thinned[space.contains(thinned) & space.searched(thinned)]
    to_truth = nearest_distances(counted, truth, max_dist, threads)
    counted = truth[space.above_plane(truth) & space.searched(truth)]
    to_cloud = nearest_distances(counted, thinned, max_dist, threads)
    counts = {"n_in": len(cloud), "n_reduced": len(thinned), "n_truth": len(truth)}
    return accuracy_completeness(to_truth, to_cloud, max_dist) | counts


def score_scan(files: ScanFiles, dst: float, max_dist: float, seed: int, threads: int) -> dict[str, float]:
    """`score_cloud` of a scan's files, and n_not_finite, how many points of both clouds were dropped as not finite.

    Raises DataError when a file is damaged, a cloud is empty, or no point counts.
    """
    space = read_observed_space(files.mask, files.plane)
    cloud, cloud_dropped = read_points(files.cloud)
    truth, truth_dropped = read_points(files.truth)
    score = score_cloud(cloud, truth, space, dst, max_dist, seed, threads)
    score["n_not_finite"] = cloud_dropped + truth_dropped
    for count, what in (("n_acc", "observed point lies"), ("n_comp", "point of the ground truth above the plane lies")):
        if not score[count]:
            other = "the ground truth" if count == "n_acc" else "it"
            raise DataError(
                f"{files.cloud}: no {what} within {max_dist:g} mm of {other}; is the cloud in DTU's frame, in mm?"
            )
    return score

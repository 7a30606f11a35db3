"""Camera poses of photos by structure from motion: pycolmap on the CPU."""

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.files import DataError, reason
from tools.photos.features import (
    Group,
    Search,
    extract_features,
    import_pycolmap,
    match_features,
    open_database,
    run,
)
from tools.runtime.program import Progress

# All pairs of so many photos are matched; of more those that look alike and the neighbours in the order of names.
EXHAUSTIVE_UP_TO = 60
_MOST_THOROUGH = 40  # photos that are searched thoroughly when some of them are not placed; of more when half are not

_SMALLEST_MODEL = 3  # photos

# Where no photos fit together and in so many of the pairs the camera seems to have turned only, it has.
_TURNED = 0.7
TURNED = (
    "the camera turned but did not move, so nothing tells how far things are; take photos from places apart: a step to "
    "the side between each two"
)

_ENOUGH = 0.9  # share of the photos from which on no other way is tried


@dataclasses.dataclass(frozen=True)
class Poses:
    """What was found: the photos of each model, the largest first, and the points and mean error of that."""

    models: list[list[str]]
    points: int
    error: float


def forget(folder: Path) -> None:
    """Remove what an earlier search has left in a folder."""
    for name in ("database.db", "thorough.db"):
        for ending in ("", "-wal", "-shm", "-journal"):
            (folder / f"{name}{ending}").unlink(missing_ok=True)
    for name in ("sparse", "mapping"):
        shutil.rmtree(folder / name, ignore_errors=True)


def find_poses(images: Path, groups: Sequence[Group], folder: Path, search: Search) -> Poses:
    """Find the poses of photos in a folder, and write the largest model to folder/sparse/0.

    When the ordinary way places few of them, others are tried: fewer matches, then fainter features; the model of the
    most photos is taken. Features and matches stay in folder/database.db, and those that are there already are not made
    again. Raises DataError when no photos fit together.
    """
    pycolmap = import_pycolmap()
    pycolmap.set_random_seed(search.seed)
    names = sorted(name for group in groups for name in group.names)
    shutil.rmtree(folder / "sparse", ignore_errors=True)
    best = _Best(folder, len(names))
    try:
        for thorough in (False, True):
            if thorough and len(names) > _MOST_THOROUGH and best.placed >= len(names) / 2:
                break
            database = folder / ("thorough.db" if thorough else "database.db")
            matching = chosen_matching(search.matching, len(names))
            if thorough:
                print(f"only {best.placed} of {len(names)} photos have a pose; fainter features are tried", flush=True)
            extract_features(pycolmap, database, images, groups, search, thorough)
            match_features(pycolmap, database, names, dataclasses.replace(search, matching=matching), thorough)
            for faint in (False, True):
                best.take(_map(pycolmap, database, images, folder, len(names), search, faint))
                if best.enough:
                    break
            if best.enough:
                break
            if best.placed == 0 and _turned(pycolmap, database) >= _TURNED:
                raise DataError(f"{images}: {TURNED}")
        return best.keep(images)
    except (RuntimeError, ValueError) as error:  # of the library: a full disk, say
        raise DataError(f"{folder}: COLMAP failed: {reason(error)}") from None


def chosen_matching(asked: str, count: int) -> str:
    """What "auto" means: "exhaustive", or "alike" for large sets."""
    if asked != "auto":
        return asked
    return "exhaustive" if count <= EXHAUSTIVE_UP_TO else "alike"


# ---------------------------------------------------------------- models


def _map(
    pycolmap: Any, database: Path, images: Path, folder: Path, count: int, search: Search, faint: bool
) -> dict[int, Any]:
    """The models that fit the matches, by numbers, in folder/mapping. `faint`: fewer matches and smaller angles do."""
    options = pycolmap.IncrementalPipelineOptions(random_seed=search.seed, num_threads=search.threads)
    options.min_model_size = min(_SMALLEST_MODEL, count)
    if faint:
        options.mapper.init_min_tri_angle, options.mapper.init_min_num_inliers = 4.0, 30
        options.mapper.abs_pose_min_num_inliers, options.mapper.abs_pose_min_inlier_ratio = 15, 0.15
        options.triangulation.ignore_two_view_tracks = False
    work = folder / "mapping"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    label = "poses from fewer matches" if faint else "poses"
    with Progress(count, label, unit="photo") as progress:
        return run(
            pycolmap,
            pycolmap.incremental_mapping,
            *(database, images, work, options),
            next_image_callback=progress.step,
        )


class _Best:
    """The models of the way that has placed the most photos so far."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count = folder, count
        self._models: list[Any] = []

    @property
    def placed(self) -> int:
        """Photos in the largest model."""
        return self._models[0].num_reg_images() if self._models else 0

    @property
    def enough(self) -> bool:
        """Whether no other way has to be tried."""
        return self.placed >= _ENOUGH * self._count

    def take(self, models: dict[int, Any]) -> None:
        """Keep models where they are better than those kept."""
        ordered = sorted(models.values(), key=lambda model: (-model.num_reg_images(), -model.num_points3D()))
        if ordered and (self._models == [] or ordered[0].num_reg_images() > self.placed):
            self._models = ordered
        shutil.rmtree(self._folder / "mapping", ignore_errors=True)

    def keep(self, images: Path) -> Poses:
        """Write the largest model to folder/sparse/0; DataError where there is none."""
        if not self._models:
            raise DataError(
                f"{images}: no photos of these fit together; take more, of a still and textured scene, each sharing "
                "two thirds with the next, from places apart"
            )
        target, aside = self._folder / "sparse", self._folder / "mapping"
        (aside / "0").mkdir(parents=True)
        largest = self._models[0]
        largest.write(aside / "0")
        os.replace(aside, target)
        names = [sorted(model.image(i).name for i in model.reg_image_ids()) for model in self._models]
        return Poses(names, largest.num_points3D(), largest.compute_mean_reprojection_error())


# ---------------------------------------------------------------- turning on the spot


def _turned(pycolmap: Any, database: Path) -> float:
    """Share of the matched pairs between which the camera turned without moving, as far as that can be told."""
    kinds = pycolmap.TwoViewGeometryConfiguration
    with open_database(pycolmap, database) as opened:
        found = [int(geometry.config) for geometry in opened.read_two_view_geometries()[1]]
    matched = [kind for kind in found if kind not in (int(kinds.UNDEFINED), int(kinds.DEGENERATE))]
    turned = [kind for kind in matched if kind in (int(kinds.PANORAMIC), int(kinds.PLANAR_OR_PANORAMIC))]
    return len(turned) / max(1, len(matched))

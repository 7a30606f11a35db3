"""Camera poses of photos by structure from motion: pycolmap on the CPU. The only place that knows pycolmap."""

import contextlib
import dataclasses
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from datasets.files import DataError, reason
from tools.runtime.program import Progress

# All pairs of so many photos are matched in a few minutes; of more, each with its neighbours in the order of names.
EXHAUSTIVE_UP_TO = 80
_LENS_MODEL = "SIMPLE_RADIAL"  # more parameters are seldom well determined by few photos
_SMALLEST_MODEL = 3  # photos
_CHUNK = 8  # photos between two signs of life
_BLOCK = 6
_ONLY_FATAL = 3  # glog's level


@dataclasses.dataclass(frozen=True)
class Group:
    """Photos of one camera and one size (width, height); `focal` in pixels where it is known."""

    names: list[str]
    size: tuple[int, int]
    focal: float | None


@dataclasses.dataclass(frozen=True)
class Poses:
    """What was found: the photos of each model, the largest first, and the points and mean error of that."""

    models: list[list[str]]
    points: int
    error: float


def import_pycolmap() -> Any:
    """The library; raises DataError where it is missing."""
    try:
        import pycolmap  # large, and needed here only
    except ImportError as error:
        raise DataError(
            f"pycolmap cannot be used ({str(error)[:100]}); install it: pip install -r requirements-photos.txt"
        ) from None
    # Its logging library has taken SIGTERM over, and would end the program with a trace.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    pycolmap.logging.minloglevel = _ONLY_FATAL
    return pycolmap


def _run(pycolmap: Any, work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a long function of the library, in a thread: meanwhile Python can act on signals, and cancel it."""
    token = pycolmap.CancellationToken()
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(work, *arguments, cancellation_token=token, **options)
        try:
            return result.result()
        except BaseException:
            token.cancel()
            raise


def find_poses(images: Path, groups: Sequence[Group], folder: Path, matching: str, seed: int, threads: int) -> Poses:
    """Find the poses of photos in a folder, and write the largest model to folder/sparse/0.

    matching: "exhaustive", "sequential" (photos in the order of their names) or "auto". Features and matches stay in
    folder/database.db. Raises DataError when no photos fit together.
    """
    pycolmap = import_pycolmap()
    pycolmap.set_random_seed(seed)
    database = folder / "database.db"
    for stale in (database, folder / "database.db-wal", folder / "database.db-shm"):
        stale.unlink(missing_ok=True)
    shutil.rmtree(folder / "sparse", ignore_errors=True)
    names = sorted(name for group in groups for name in group.names)
    try:
        _extract(pycolmap, database, images, groups, names, threads)
        _match(pycolmap, database, len(names), matching, seed, threads)
        return _map(pycolmap, database, images, folder, len(names), seed, threads)
    except (RuntimeError, ValueError) as error:  # of the library: a full disk, say
        raise DataError(f"{folder}: COLMAP failed: {reason(error)}") from None


def _extract(pycolmap: Any, database: Path, images: Path, groups: Sequence[Group], names: list[str], threads: int):
    """Cameras, photos and their features into the database; numbered before threads work on them, so always alike."""
    pycolmap.Database.open(database).close()  # makes it
    for group in groups:
        reader = pycolmap.ImageReaderOptions(camera_model=_LENS_MODEL)
        if group.focal is not None:
            reader.camera_params = f"{group.focal},{group.size[0] / 2},{group.size[1] / 2},0"
        mode = pycolmap.CameraMode.SINGLE
        pycolmap.import_images(database, images, mode, image_names=sorted(group.names), options=reader)
    options = pycolmap.FeatureExtractionOptions(num_threads=threads)
    with contextlib.closing(Progress(len(names), "features", unit="photo")) as progress:
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            features = {"image_names": chunk, "extraction_options": options}
            _run(pycolmap, pycolmap.extract_features, database, images, **features)
            for _ in chunk:
                progress.step()


def _match(pycolmap: Any, database: Path, count: int, matching: str, seed: int, threads: int) -> None:
    """Matches of pairs of photos, geometrically verified, into the database."""
    exhaustive = matching == "exhaustive" or (matching == "auto" and count <= EXHAUSTIVE_UP_TO)
    pairs = f"{count * (count - 1) // 2} pairs" if exhaustive else f"{count} photos with their neighbours by name"
    print(f"matching {pairs}", flush=True)
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = seed
    options = {"matching_options": pycolmap.FeatureMatchingOptions(num_threads=threads)}
    options["verification_options"] = verification
    if exhaustive:
        # It can be cancelled between blocks of so many photos squared.
        options["pairing_options"] = pycolmap.ExhaustivePairingOptions(block_size=_BLOCK)
    _run(pycolmap, pycolmap.match_exhaustive if exhaustive else pycolmap.match_sequential, database, **options)


def _map(pycolmap: Any, database: Path, images: Path, folder: Path, count: int, seed: int, threads: int) -> Poses:
    """The models; the largest one moves to folder/sparse/0."""
    options = pycolmap.IncrementalPipelineOptions(random_seed=seed, num_threads=threads)
    options.min_model_size = min(_SMALLEST_MODEL, count)
    work = folder / "mapping"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    with contextlib.closing(Progress(count, "poses", unit="photo")) as progress:
        arguments = (database, images, work, options)
        models = _run(pycolmap, pycolmap.incremental_mapping, *arguments, next_image_callback=progress.step)
    if not models:
        shutil.rmtree(work)
        raise DataError(
            f"{images}: no photos of these fit together; take more, of a still and textured scene, each sharing two "
            "thirds with the next, from places apart"
        )
    order = sorted(models, key=lambda k: (-models[k].num_reg_images(), k))
    target = folder / "sparse" / "0"
    target.parent.mkdir()
    os.replace(work / str(order[0]), target)
    shutil.rmtree(work)
    names = [sorted(models[k].image(i).name for i in models[k].reg_image_ids()) for k in order]
    best = models[order[0]]
    return Poses(names, best.num_points3D(), best.compute_mean_reprojection_error())

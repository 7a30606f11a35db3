"""Points of photos whose poses are known, and those poses adjusted until the points meet: pycolmap on the CPU."""

import dataclasses
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from datasets.files import DataError, reason
from tools.photos.features import Group, Search, extract_features, import_pycolmap, match_features, open_database, run
from tools.photos.overlap import overlapping_pairs, steps
from tools.photos.sfm import chosen_matching
from tools.runtime.alive import Alive

# Names how poses are adjusted: what was adjusted in another way is made anew.
ADJUSTING = "directions, places, focal lengths 2"

_SURE_TRACK = 3  # photos that see a point which hardly is there by chance
FEWEST_SURE = 20  # points so seen; with fewer, photos and poses do not belong together

# Places are measured well and directions badly: a tenth of a degree turns a picture by a pixel, a millimetre moves it
# by less. So a place is believed to two hundredths of the way to the next camera, which also keeps the scale; a
# direction is not believed at all.
_PLACE_ERROR = 0.02
_ADJUSTMENTS = 2  # the second with the points that the first has brought together
_FEWEST_POINTS = 15  # that a photo must see for its camera to be moved
# Depths are wrong by as much as a focal length is. It is adjusted where so many photos share it and each half of the
# points tells the same, up to this share, and not far from what it was: sliding along a wall tells nothing of it.
_FEWEST_OF_A_LENS, _SAME_FOCAL, _MOST_FOCAL = 10, 0.004, 0.04
_LEAST_GAIN = 0.9  # of the error, for poses to be given up
_ROBUST_SCALE = 1.0  # pixels, from which on a point counts less and less
# An adjustment ends when its error falls by less than this share at a step. The library's goes on for a hundred steps:
# four times as long for focal lengths that differ by 0.0001 %.
_CONVERGED = 1e-6


@dataclasses.dataclass(frozen=True)
class KnownPhoto:
    """A photo whose pose is known: its name, size (width, height), camera (fx, fy, cx, cy; the first pixel's centre at
    0.5) and cam_T_world [4, 4]."""

    name: str
    size: tuple[int, int]
    camera: tuple[float, float, float, float]
    cam_T_world: np.ndarray


@dataclasses.dataclass(frozen=True)
class Triangulated:
    """What photos with known poses have in common.

    points: their number; sure: of those that three photos see, or two where there are no more (wrong poses have points
    of two). error: how far off the points are seen, pixels in the mean, with the poses as given. adjusted_error: the
    same after adjusting, None where nothing was adjusted. poses: cam_T_world [4, 4] of the photos by name; cameras:
    their (fx, fy, cx, cy).
    """

    points: int
    sure: int
    error: float
    adjusted_error: float | None
    poses: dict[str, np.ndarray]
    cameras: dict[str, tuple[float, ...]]


def triangulate(
    images: Path, photos: Sequence[KnownPhoto], folder: Path, search: Search, adjust: bool = False
) -> Triangulated:
    """Write a model of photos with known poses to folder/sparse/0, with the points that they have in common.

    Photos are matched whose views can overlap. The poses are held, or with `adjust` turned, and moved by little, until
    the points are seen where they should be, and focal lengths that many photos share are adjusted with them. All is
    held the same where that does not help. Raises DataError where the library fails.
    """
    pycolmap = import_pycolmap()
    pycolmap.set_random_seed(search.seed)
    shutil.rmtree(folder / "sparse", ignore_errors=True)
    database = folder / "database.db"
    ordered = sorted(photos, key=lambda photo: photo.name)
    names = [photo.name for photo in ordered]
    work = folder / "mapping"
    adjusted = None
    try:
        extract_features(pycolmap, database, images, _groups(photos), search, thorough=False)
        search = dataclasses.replace(search, matching=chosen_matching(search.matching, len(names)))
        match_features(pycolmap, database, names, search, thorough=False, among=overlapping_pairs(ordered))
        with Alive("points"):
            model = _model_of(pycolmap, database, photos)
            model = held = _with_points(pycolmap, model, database, images, work, search)
            if adjust and held.num_points3D():
                model = adjusted = _adjusted(pycolmap, model, database, images, work, search)
                if not _is_better(adjusted, held):
                    model, adjusted = held, None
        shutil.rmtree(work, ignore_errors=True)
        (work / "0").mkdir(parents=True)
        model.write(work / "0")
    except (RuntimeError, ValueError) as error:
        raise DataError(f"{folder}: COLMAP failed: {reason(error)}") from None
    os.replace(work, folder / "sparse")
    return Triangulated(
        points=model.num_points3D(),
        sure=_sure_points(model),
        error=held.compute_mean_reprojection_error(),
        adjusted_error=None if adjusted is None else adjusted.compute_mean_reprojection_error(),
        poses={image.name: np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]]) for image in _images(model)},
        cameras={image.name: tuple(map(float, model.camera(image.camera_id).params)) for image in _images(model)},
    )


def _groups(photos: Sequence[KnownPhoto]) -> list[Group]:
    """Photos of equal cameras together."""
    names = defaultdict(list)
    for photo in photos:
        names[photo.size, photo.camera].append(photo.name)
    return [Group(members, size, None, camera) for (size, camera), members in names.items()]


def _images(model: Any) -> list[Any]:
    return [model.image(number) for number in sorted(model.reg_image_ids())]


def _sure_points(model: Any) -> int:
    sure = min(_SURE_TRACK, model.num_reg_images())
    return sum(point.track.length() >= sure for point in model.points3D.values())


def _is_better(adjusted: Any, held: Any) -> bool:
    """Whether points fit clearly better, and not because there are fewer. Cameras that are good already would gain a
    little too, by turning all together."""
    gain = adjusted.compute_mean_reprojection_error() / held.compute_mean_reprojection_error()
    return gain < _LEAST_GAIN and _sure_points(adjusted) >= 0.9 * _sure_points(held)


def _model_of(pycolmap: Any, database: Path, photos: Sequence[KnownPhoto]) -> Any:
    """A model without points of photos, whose cameras and numbers are the database's."""
    model = pycolmap.Reconstruction()
    known = {photo.name: photo for photo in photos}
    with open_database(pycolmap, database) as opened:
        for camera in opened.read_all_cameras():
            model.add_camera_with_trivial_rig(camera)
        for image in opened.read_all_images():
            world_to_camera = pycolmap.Rigid3d(known[image.name].cam_T_world[:3])
            fresh = pycolmap.Image(name=image.name, camera_id=image.camera_id, image_id=image.image_id)
            model.add_image_with_trivial_frame(fresh, world_to_camera)
    return model


def _with_points(pycolmap: Any, model: Any, database: Path, images: Path, work: Path, search: Search) -> Any:
    """A model of the same poses with the points that fit them."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "points").mkdir(parents=True)
    options = pycolmap.IncrementalPipelineOptions(random_seed=search.seed, num_threads=search.threads)
    options.triangulation.ignore_two_view_tracks = False
    return run(pycolmap, pycolmap.triangulate_points, model, database, images, work / "points", options=options)


# ---------------------------------------------------------------- adjusting


def _adjusted(pycolmap: Any, model: Any, database: Path, images: Path, work: Path, search: Search) -> Any:
    """The model with poses and focal lengths in which its points fit, and the points that fit these."""
    places = {image.image_id: image.projection_center() for image in _images(model)}
    between = steps(np.array(list(places.values())))
    sigma = max(_PLACE_ERROR * float(np.median(between)), np.finfo(float).tiny ** 0.5)
    free = _sure_lenses(pycolmap, model, places, sigma)
    for _ in range(_ADJUSTMENTS):
        moved = _bundle_adjusted(pycolmap, model, places, sigma, free)
        model = _with_points(pycolmap, moved, database, images, work, search)
    return model


def _sure_lenses(pycolmap: Any, model: Any, places: dict[int, np.ndarray], sigma: float) -> set[int]:
    """The numbers of the cameras whose focal lengths the points tell: each half of them nearly the same."""
    shared = Counter(image.camera_id for image in _images(model) if image.num_points3D >= _FEWEST_POINTS)
    free = {camera for camera, photos in shared.items() if photos >= _FEWEST_OF_A_LENS}
    if not free:
        return free
    points, found = sorted(model.points3D), []
    for half in (points[::2], points[1::2]):
        part = pycolmap.Reconstruction(model)
        for point in half:
            part.delete_point3D(point)
        part = _bundle_adjusted(pycolmap, part, places, sigma, free)
        found.append({camera: np.array(part.camera(camera).params[:2]) for camera in free})
    return {camera for camera in free if _agree(*(of[camera] for of in found), model.camera(camera).params[:2])}


def _agree(one: np.ndarray, other: np.ndarray, before: np.ndarray) -> bool:
    """Whether two findings of focal lengths [2] (x, y) are alike, and near to what they were before."""
    change = (one + other) / (2 * before) - 1
    return bool((abs(one / other - 1) < _SAME_FOCAL).all() and (abs(change) < _MOST_FOCAL).all())


def _bundle_adjusted(pycolmap: Any, model: Any, places: dict[int, np.ndarray], sigma: float, free: set[int]) -> Any:
    """A copy of the model after one bundle adjustment with places known up to sigma, and the focal lengths of the
    `free` cameras not known."""
    model = pycolmap.Reconstruction(model)
    options = pycolmap.BundleAdjustmentOptions(
        refine_focal_length=True, refine_principal_point=False, refine_extra_params=False, print_summary=False
    )
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = _ROBUST_SCALE
    options.ceres.solver_options.function_tolerance = _CONVERGED
    config, priors = pycolmap.BundleAdjustmentConfig(), []
    for camera in model.cameras:
        if camera not in free:
            config.set_constant_cam_intrinsics(camera)
    for image in _images(model):
        config.add_image(image.image_id)
        if image.num_points3D < _FEWEST_POINTS:
            config.set_constant_rig_from_world_pose(image.frame_id)
        priors.append(
            pycolmap.PosePrior(
                pose_prior_id=image.image_id,
                corr_data_id=image.data_id,
                position=places[image.image_id],
                position_covariance=sigma**2 * np.eye(3),
                coordinate_system=pycolmap.PosePriorCoordinateSystem.CARTESIAN,
            )
        )
    prior_options = pycolmap.PosePriorBundleAdjustmentOptions()
    adjuster = pycolmap.create_pose_prior_bundle_adjuster(options, prior_options, config, priors, model)
    with ThreadPoolExecutor(1) as pool:  # in a thread: meanwhile Python can act on signals
        pool.submit(adjuster.solve).result()
    model.update_point_3d_errors()
    return model

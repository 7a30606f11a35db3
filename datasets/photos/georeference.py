"""Metres, north and up of a scan from where GPS says that its photos were taken.

GPS errs by metres, phones' heights by more, and its errors go along with time. So the fit is robust, its residual is
told, and a set whose photos were taken too near each other for these errors is refused: a wrong length is worse than
none.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from datasets.files import DataError
from datasets.photos.gps import GpsPlace, metres_around
from datasets.units import METRES, Units, similarity, transformed

FEWEST = 4  # photos with a place
_LEAST_ERROR = 1.0  # metres that GPS errs by at least, whatever its receiver claims
_LEAST_RATIO = 5.0  # of how far apart the photos were taken to GPS's error
_SURE_TILT = 0.05  # of heights' errors to how far the places spread: then they tell what is up within three degrees
_ROUNDS, _SLACK = 12, 1.5  # of weighing; residuals beyond so many times the median one count little


@dataclasses.dataclass(frozen=True)
class Fit:
    """A similarity [4, 4] that takes places in a scan to metres; residual: their distance, root mean square of those
    that agree, with the fit's freedom counted; agreeing: how many photos these are."""

    world_T_scan: np.ndarray
    residual: float
    agreeing: int


def units_of_gps(centres: np.ndarray, places: Sequence[GpsPlace], up: np.ndarray, source: str) -> Units:
    """Units from the centres [N, 3] of cameras and where GPS has them; `up` [3] is the scan's direction against
    gravity.

    Where the places spread over an area they tell what is up as well, else `up` is taken. Raises DataError, which names
    `source`, where there are too few, or they are too near each other for GPS's errors.
    """
    if len(places) < FEWEST:
        raise DataError(f"{source}: {len(places)} photos tell a place by GPS, a length needs {FEWEST} or more")
    heights = [place.height for place in places if not math.isnan(place.height)]
    middle = np.median([[place.latitude, place.longitude] for place in places], axis=0)
    origin = GpsPlace(*map(float, middle), float(np.median(heights)) if heights else 0.0, math.nan)
    metres = metres_around(places, origin)
    metres[:, 2] = np.nan_to_num(metres[:, 2])
    fit = level_fit(centres, metres, up)
    if len(heights) == len(places):
        free, heights_off = free_fit(centres, metres)
        errors = max(heights_off / _SURE_TILT, _LEAST_RATIO * max(_LEAST_ERROR, free.residual))
        fit = free if _spread(centres, free)[1] >= errors else fit
    claimed = [place.error for place in places if place.error > 0]
    error = max(_LEAST_ERROR, fit.residual, float(np.median(claimed)) if claimed else 0.0)
    spread = _spread(centres, fit)[0]
    if spread < _LEAST_RATIO * error:
        raise DataError(
            f"{source}: the photos were taken within {2 * spread:.1f} m of each other, and GPS errs by "
            f"{error:.1f} m: too little to tell a length; lay a printed marker beside the thing, or give one distance"
        )
    told = f"GPS of {len(places)} photos" + (f", {fit.agreeing} of which agree" if fit.agreeing < len(places) else "")
    return Units(METRES, told, None, fit.world_T_scan, fit.residual, (origin.latitude, origin.longitude, origin.height))


def _spread(centres: np.ndarray, fit: Fit) -> np.ndarray:
    """How far the photos' places reach in the plane along and across their main direction, in metres:
    of the scan's, in which no photo is lost as GPS's may be."""
    level = transformed(fit.world_T_scan, centres)[0][:, :2]
    return np.linalg.svd(level - level.mean(axis=0), compute_uv=False) / math.sqrt(len(level))


def level_fit(centres: np.ndarray, metres: np.ndarray, up: np.ndarray) -> Fit:
    """Scale, heading and place of centres [N, 3] whose up is known, from where they are in metres [N, 3].

    In the plane it is one complex factor and one offset, so photos in a row are enough. The residual is horizontal.
    """
    across = np.eye(3)[np.argmin(np.abs(up))]
    x = np.cross(across, up) / np.linalg.norm(np.cross(across, up))
    R_level = np.stack([x, np.cross(up, x), up])
    level = centres @ R_level.T
    a, b = level[:, 0] + 1j * level[:, 1], metres[:, 0] + 1j * metres[:, 1]

    def solve(weights: np.ndarray) -> tuple[complex, complex]:
        mean_a, mean_b = weights @ a / weights.sum(), weights @ b / weights.sum()
        energy = float(weights @ np.abs(a - mean_a) ** 2)
        factor = (weights @ ((b - mean_b) * np.conj(a - mean_a))) / energy if energy > 0 else 0j
        return factor, mean_b - factor * mean_a

    weights = np.ones(len(a))
    for _ in range(_ROUNDS):
        factor, offset = solve(weights)
        distances = np.abs(factor * a + offset - b)
        weights = _weights(distances)
    scale = abs(factor)
    if scale == 0:
        raise DataError("GPS: all photos were taken at one place")
    turn = similarity(
        R=np.array([[factor.real, -factor.imag, 0], [factor.imag, factor.real, 0], [0, 0, scale]]) / scale
    )
    height = float(np.median(metres[:, 2] - scale * level[:, 2]))
    T = similarity(scale, turn[:3, :3] @ R_level, np.array([offset.real, offset.imag, height]))
    return Fit(T, *_residual(distances, 2, 4))


def free_fit(centres: np.ndarray, metres: np.ndarray) -> tuple[Fit, float]:
    """The similarity of centres [N, 3] to metres [N, 3], robustly (Umeyama 1991); the residual is horizontal. And the
    median error of heights."""
    weights = np.ones(len(centres))
    for _ in range(_ROUNDS):
        T = _umeyama(centres, metres, weights / weights.sum())
        distances = np.linalg.norm(centres @ T[:3, :3].T + T[:3, 3] - metres, axis=1)
        weights = _weights(distances)
    off = centres @ T[:3, :3].T + T[:3, 3] - metres
    return Fit(T, *_residual(np.linalg.norm(off[:, :2], axis=1), 2, 5)), float(np.median(np.abs(off[:, 2])))


def _umeyama(centres: np.ndarray, metres: np.ndarray, weights: np.ndarray) -> np.ndarray:
    mean_a, mean_b = weights @ centres, weights @ metres
    a, b = centres - mean_a, metres - mean_b
    U, singular, Vt = np.linalg.svd(b.T @ (weights[:, None] * a))
    mirror = np.diag([1.0, 1, np.sign(np.linalg.det(U @ Vt))])
    R = U @ mirror @ Vt
    scale = float((singular * np.diag(mirror)).sum() / max(weights @ (a**2).sum(axis=1), np.finfo(float).tiny))
    return similarity(scale, R, mean_b - scale * R @ mean_a)


def _weights(distances: np.ndarray) -> np.ndarray:
    """Of photos by how far off they are."""
    bound = _SLACK * max(float(np.median(distances)), np.finfo(float).tiny)
    return 1 / (1 + (distances / bound) ** 2)


def _residual(distances: np.ndarray, dimensions: int, freedom: int) -> tuple[float, int]:
    """Root mean square of the distances of photos that agree, made larger as the fit's freedom made it smaller; their
    number."""
    agreeing = distances <= max(3 * float(np.median(distances)), np.finfo(float).tiny)
    count = int(agreeing.sum())
    left = max(dimensions * count - freedom, 1)
    return float(np.sqrt((distances[agreeing] ** 2).sum() * dimensions / left)), count

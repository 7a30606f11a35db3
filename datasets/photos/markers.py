"""The length of a scan from a printed ArUco or AprilTag marker of a known size (OpenCV's detector)."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping

import cv2
import numpy as np

from datasets.camera import Camera

_DICTIONARIES = ("4X4_1000", "5X5_1000", "6X6_1000", "7X7_1000", "ARUCO_ORIGINAL", "APRILTAG_36h11", "APRILTAG_25h9")
_FARTHEST = 2.0  # pixels that a corner may be off where it is seen again
_FEWEST = 2  # photos that see it
_NARROWEST = 2.0  # degrees between the two lines of sight that are farthest apart
_LARGEST_SPREAD = 0.1  # of the sides of a marker, which are equal, to their mean


@dataclasses.dataclass(frozen=True)
class Marker:
    """A marker in a scan: the dictionary and number that it is of, its corners [4, 3] in order, the mean length of its
    sides and their standard deviation as a share of it, and the photos that see it."""

    dictionary: str
    number: int
    corners: np.ndarray
    side: float
    spread: float
    photos: int


def detect(image: np.ndarray) -> dict[tuple[str, int], np.ndarray]:
    """The corners [4, 2] of the markers in an RGB image, with pixel centres at integers, by dictionary and number."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    found = {}
    for name in _DICTIONARIES:
        kind = getattr(cv2.aruco, f"DICT_{name}", None)
        if kind is None:
            continue
        detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(kind), parameters)
        corners, numbers, _ = detector.detectMarkers(grey)
        for number, at in zip([] if numbers is None else numbers.ravel(), corners, strict=True):
            found[name, int(number)] = at.reshape(4, 2).astype(np.float64)
    return found


def locate(views: Iterable[tuple[np.ndarray, Camera]]) -> list[Marker]:
    """The markers that images [H, W, 3] with cameras see, those first whose sides are most nearly equal.

    One counts that two photos or more see from places apart, at corners that fit together, and that is square.
    """
    sights: Mapping[tuple[str, int], list] = defaultdict(list)
    for image, camera in views:
        for key, corners in detect(image).items():
            sights[key].append((corners, camera))
    markers = (_marker(*key, seen) for key, seen in sights.items() if len(seen) >= _FEWEST)
    return sorted((marker for marker in markers if marker is not None), key=lambda marker: marker.spread)


def _marker(dictionary: str, number: int, sights: list[tuple[np.ndarray, Camera]]) -> Marker | None:
    """The marker of some sights, of which the worst are left out one by one; None where they do not fit together."""
    while len(sights) >= _FEWEST:
        cameras = [camera for _, camera in sights]
        corners = np.stack([triangulate(np.stack([at[k] for at, _ in sights]), cameras) for k in range(4)])
        off = [np.abs(np.stack(camera.project(corners)[:2], axis=1) - at).max() for at, camera in sights]
        if max(off) <= _FARTHEST:
            break
        del sights[int(np.argmax(off))]
    else:
        return None
    rays = corners.mean(axis=0) - np.array([camera.centre for camera in cameras])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    if (rays @ rays.T).min() > np.cos(np.radians(_NARROWEST)):
        return None
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)
    spread = float(sides.std() / sides.mean())
    return (
        Marker(dictionary, number, corners, float(sides.mean()), spread, len(sights))
        if spread < _LARGEST_SPREAD
        else None
    )


def triangulate(pixels: np.ndarray, cameras: list[Camera]) -> np.ndarray:
    """The world point [3] that cameras see at pixels [N, 2]: linear, each camera's rows weighed by its distance."""
    centre = np.mean([camera.centre for camera in cameras], axis=0)
    rows, right = [], []
    weights = np.ones(len(cameras))
    for _ in range(3):
        rows, right = [], []
        for (u, v), camera, weight in zip(pixels, cameras, weights, strict=True):
            P = camera.around(centre).projection()
            for row in (u * P[2] - P[0], v * P[2] - P[1]):
                rows.append(weight * row[:3])
                right.append(-weight * row[3])
        point = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
        depths = np.array([camera.around(centre).project(point[None])[2][0] for camera in cameras])
        weights = 1 / np.maximum(np.abs(depths), np.finfo(float).tiny)
    return point + centre

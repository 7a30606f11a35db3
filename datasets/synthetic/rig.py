"""Cameras about a procedural scene and the choice of source views. World: origin in the scene's middle, mm."""

from collections.abc import Sequence

import numpy as np

from datasets.camera import Camera
from datasets.files import DataError

DEPTH_LINE = (425.0, 2.5)  # mm: with 192 values and interval scale 1.06 it ends at 931
DISTANCE = 600.0  # mm from the middle of the scene to a camera
RING_ANGLE = np.radians(24.0)  # 250 mm between neighbours: half a pixel per stage-1 hypothesis at 40 pixels' width
MAX_SOURCES = 10
RIGS = ("ring", "arc", "path")


def generator(purpose: str, *seeds: int) -> np.random.Generator:
    """A random generator of its own for each purpose and seed."""
    return np.random.default_rng([*purpose.encode(), 0, *seeds])


def make_rig(seed: int, width: int, height: int, views: int, kind: str = "ring") -> list[Camera]:
    """`views` cameras that look at the origin from about 600 mm; intrinsics are shared, for images of width x height.

    "ring": a long lens in the middle and in a ring about it, with more than 8 views in a second one; neighbours are 220
    to 350 mm apart in a rig of 5 to 8 views. "arc": a wide lens goes about the scene in steps of 5 to 12 degrees, as
    one photographs a building. "path": a wide lens moves past in small steps, as a video does. Raises DataError when
    the images are too small or the views too few.
    """
    if views < 2 or min(width, height) < 8:
        raise DataError(f"{views} views of {width}x{height}: a scene needs at least 2 views and images of 8x8")
    rng = generator("rig", seed)
    return {"ring": _ring, "arc": _arc, "path": _path}[kind](rng, width, height, views)


def best_angle(kind: str) -> float:
    """The angle (radians) between neighbouring views that tells most about depth in a rig of this kind."""
    return {"ring": RING_ANGLE, "arc": np.radians(9.0), "path": np.radians(6.0)}[kind]


def _intrinsics(rng: np.random.Generator, focal_factor: float, width: int, height: int) -> np.ndarray:
    size = max(width, height)
    focal = focal_factor * size * rng.uniform(0.99, 1.01)
    middle = [(width - 1) / 2, (height - 1) / 2] + rng.uniform(-0.01, 0.01, 2) * size
    return np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])


def _ring(rng: np.random.Generator, width: int, height: int, views: int) -> list[Camera]:
    inner = 0 if views <= 8 else max(3, (views - 1) // 3)
    outer = views - 1 - inner
    ring = RING_ANGLE * (1.08 if outer == 7 and not inner else 1.0)  # wider, so that neighbours on it keep apart
    tilts = np.repeat([0.0, ring / 2, ring], [1, inner, outer])
    turns = [rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi, n, endpoint=False) for n in (1, inner, outer)]
    K = _intrinsics(rng, 1.8, width, height)
    cameras = []
    for tilt, turn in zip(tilts, np.concatenate(turns), strict=True):
        tilt_x, tilt_y = tilt * np.array([np.cos(turn), np.sin(turn)]) + rng.uniform(-0.012, 0.012, 2)
        position = DISTANCE * rng.uniform(0.985, 1.015) * _toward(tilt_x, tilt_y)
        target = rng.uniform(-8, 8, 3)
        cameras.append(looking_at(K, position, target, roll=rng.normal(0, 0.04)))
    return cameras


def _arc(rng: np.random.Generator, width: int, height: int, views: int) -> list[Camera]:
    K = _intrinsics(rng, rng.uniform(0.9, 1.4), width, height)
    step = np.radians(rng.uniform(5, 12))
    turns = step * (np.arange(views) - (views - 1) / 2 + rng.uniform(-0.15, 0.15, views))
    cameras = []
    for turn in np.clip(turns, -1.0, 1.0):
        position = DISTANCE * rng.uniform(0.9, 1.1) * _toward(turn, rng.uniform(-0.1, 0.1))
        cameras.append(looking_at(K, position, rng.uniform(-40, 40, 3), roll=rng.normal(0, 0.04)))
    return cameras


def _path(rng: np.random.Generator, width: int, height: int, views: int) -> list[Camera]:
    K = _intrinsics(rng, rng.uniform(0.85, 1.1), width, height)
    ahead = rng.normal(size=3) * [1.0, 0.6, 0.4]
    step = rng.uniform(30, 80) * ahead / np.linalg.norm(ahead)
    middle = DISTANCE * _toward(*rng.uniform(-0.3, 0.3, 2))
    cameras = []
    for k in range(views):
        position = middle + (k - (views - 1) / 2) * step + rng.normal(0, 6, 3)
        cameras.append(looking_at(K, position, rng.uniform(-50, 50, 3), roll=rng.normal(0, 0.06)))
    return cameras


def _toward(tilt_x: float, tilt_y: float) -> np.ndarray:
    """The unit direction from the scene to a camera that is tilted (radians) off the viewing axis."""
    return np.array([np.sin(tilt_x), np.sin(tilt_y) * np.cos(tilt_x), -np.cos(tilt_x) * np.cos(tilt_y)])


def looking_at(K: np.ndarray, position: np.ndarray, target: np.ndarray, roll: float) -> Camera:
    """A camera at a position (mm, world) that looks at a target; the image's x axis is near the world's."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross([-np.sin(roll), np.cos(roll), 0.0], forward)
    right /= np.linalg.norm(right)
    cam_T_world = np.eye(4)
    cam_T_world[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    cam_T_world[:3, 3] = -cam_T_world[:3, :3] @ position
    # As precise as a camera file, so that the depth belongs to exactly the camera that is read back.
    return Camera(K.astype(np.float32).astype(float), cam_T_world.astype(np.float32).astype(float), DEPTH_LINE)


def rank_sources(cameras: Sequence[Camera], angle: float = RING_ANGLE) -> list[tuple[int, list[tuple[int, float]]]]:
    """For each view its source views with scores, best first: those that see the scene's middle under nearly `angle`
    (radians) to the view."""
    toward = np.array([camera.centre for camera in cameras])
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    excess = np.degrees(np.arccos(np.clip(toward @ toward.T, -1, 1)) - angle)
    # Too small an angle says little about depth; a larger one only means more occlusion.
    scores = 100 * np.exp(-0.5 * (excess / np.where(excess < 0, 5.0, 12.0)) ** 2)
    pairs = []
    for reference in range(len(cameras)):
        order = [int(source) for source in np.argsort(-scores[reference], kind="stable") if source != reference]
        pairs.append((reference, [(source, float(scores[reference, source])) for source in order[:MAX_SOURCES]]))
    return pairs

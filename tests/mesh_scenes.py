"""A ball seen from all around, or from one side: depth maps that are exact, and colours that tell the place."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from fusion_scenes import write_scan

from datasets.camera import Camera
from datasets.files import DataError
from datasets.predictions import Predictions
from datasets.results import mapped_views
from fusion.mesh.library import check_open3d
from fusion.mesh.maps import KeptMaps, KeptView

RADIUS, DISTANCE = 1.0, 4.0
SIZE = (96, 128)  # height, width
_FOCAL = 160.0


def _why_not() -> str:
    """What keeps meshes from being made here, or nothing."""
    try:
        check_open3d()
    except DataError as error:
        return str(error)
    return ""


needs_open3d = pytest.mark.skipif(_why_not() != "", reason=_why_not())


def look_from(centre: Sequence[float], at: Sequence[float] = (0, 0, 0)) -> Camera:
    """A camera at a place, whose middle pixel looks at a point; the world's z is up."""
    forward = np.subtract(at, centre) / np.linalg.norm(np.subtract(at, centre))
    right = np.cross(forward, [0.02, 0.01, 1.0])
    right /= np.linalg.norm(right)
    cam_T_world = np.eye(4)
    cam_T_world[:3, :3] = [right, np.cross(forward, right), forward]
    cam_T_world[:3, 3] = -cam_T_world[:3, :3] @ np.asarray(centre, float)
    height, width = SIZE
    K = np.array([[_FOCAL, 0, (width - 1) / 2], [0, _FOCAL, (height - 1) / 2], [0, 0, 1]])
    return Camera(K, cam_T_world, (2.0, 0.02, 192))


def around(count: int = 8, heights: Sequence[float] = (-0.9, 0.0, 0.9)) -> list[Camera]:
    """Cameras on rings around the ball."""
    places = []
    for height in heights:
        for angle in np.arange(count) * 2 * np.pi / count + height:
            flat = np.sqrt(1 - (0.75 * height) ** 2)
            places.append(DISTANCE * np.array([flat * np.cos(angle), flat * np.sin(angle), 0.75 * height]))
    return [look_from(place) for place in places]


def beside(count: int = 5) -> list[Camera]:
    """Cameras on one side of it."""
    return [look_from((DISTANCE * np.cos(a), DISTANCE * np.sin(a), 0.5)) for a in np.linspace(-0.5, 0.5, count)]


def ball_depth(camera: Camera) -> np.ndarray:
    """Its exact depth [H, W] float32, 0 beside it."""
    height, width = SIZE
    y, x = np.mgrid[:height, :width]
    world_T_img = camera.world_T_img()
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ world_T_img[:3, :3].T
    a, b = (rays**2).sum(-1), rays @ camera.centre
    inside = b**2 - a * (camera.centre @ camera.centre - RADIUS**2)
    return np.where(inside > 0, (-b - np.sqrt(np.maximum(inside, 0))) / a, 0).astype(np.float32)


def place_colours(points: np.ndarray) -> np.ndarray:
    """The colour of each point [N, 3] of the ball, float64: smooth, and different everywhere."""
    return 128 + 90 * points / RADIUS


def ball_image(camera: Camera, depth: np.ndarray) -> np.ndarray:
    """How the ball looks, uint8 [H, W, 3]."""
    image = np.full((*depth.shape, 3), 128, np.uint8)
    image[depth > 0] = np.rint(place_colours(camera.lift(depth, depth > 0)))
    return image


def ball_scan(folder: Path, cameras: Sequence[Camera]) -> Path:
    """The ball's results as test.py writes them."""
    depths = [ball_depth(camera) for camera in cameras]
    images = [ball_image(camera, depth) for camera, depth in zip(cameras, depths, strict=True)]
    return write_scan(folder, depths, cameras, images=images)


def kept(scan: Path, change: Callable[[KeptView], KeptView] = lambda view: view) -> KeptMaps:
    """All depth of a scan, as if a check had kept it."""
    maps = Predictions(scan)
    numbers = mapped_views(scan / "depth_est")
    views = (change(KeptView(maps.view(n).depth, maps.view(n).depth > 0, maps.view(n).camera, n, 1.0)) for n in numbers)
    folder = scan.parent / "kept"
    folder.mkdir(exist_ok=True)
    return KeptMaps(views, maps, folder, nothing)


def nothing() -> None:
    """After each step."""


class NoSteps:
    """Nobody looks."""

    def begin(self, what: str, count: int) -> Callable[[], None]:
        return nothing

    def say(self, text: str) -> None:
        pass

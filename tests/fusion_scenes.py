"""Small scenes of known geometry, shared by the fusion tests."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.camera import Camera
from datasets.formats.images import write_image
from datasets.formats.pfm import write_pfm
from datasets.io import write_camera
from datasets.predictions import DepthView
from fusion.sources import Sources

GOLDEN = Path(__file__).parent / "golden"


def camera(center=(0, 0, 0), angle: float = 0.0, focal: float = 128.0, size=(24, 32)) -> Camera:
    """A camera for images of `size` (H, W) at a centre, turned about the y axis by `angle` radians.

    All its numbers are exact in binary when angle is 0, so that ties in the tests are real ties.
    """
    height, width = size
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    cam_T_world = np.eye(4)
    cam_T_world[:3, :3] = [[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]]
    cam_T_world[:3, 3] = -cam_T_world[:3, :3] @ np.array(center, float)
    return Camera(K, cam_T_world, (425.0, 2.5))


def sources_of(views: Sequence[DepthView], confidences: Sequence[np.ndarray]) -> Sources:
    """All views but the first as sources of that, with their confidences."""
    return Sources(views[0], views[1:], confidences)


# Where surveys put their scenes: a turn of the axes, and where the scene's origin comes to lie. Easting, northing and
# height (UTM); axes from the earth's middle (ECEF). In units as small as a thousandth of what the scenes are in.
WORLDS = {
    "utm": (np.eye(3), np.array([5e5, 4.5e6, 100.0])),
    "ecef": (np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0], [0.48, 0.64, 0.6]]), np.array([4.36e6, 5.07e5, 4.61e6])),
}


def moved(view: Camera, world: str) -> Camera:
    """The camera of the same scene in another world."""
    far_T_near = np.eye(4)
    far_T_near[:3, :3], far_T_near[:3, 3] = WORLDS[world]
    return dataclasses.replace(view, cam_T_world=view.cam_T_world @ np.linalg.inv(far_T_near))


def moved_back(points: np.ndarray, world: str) -> np.ndarray:
    """Points [N, 3] of another world where the scene has them."""
    turn, place = WORLDS[world]
    return (points.astype(np.float64) - place) @ turn


def plane_depth(view: Camera, normal, offset: float, size=(24, 32)) -> np.ndarray:
    """Exact depth [H, W] float32 of the world plane normal . X = offset."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    world_R_cam = view.cam_T_world[:3, :3].T
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(view.K).T @ world_R_cam.T
    center = -world_R_cam @ view.cam_T_world[:3, 3]
    return ((offset - np.dot(normal, center)) / (rays @ np.asarray(normal, float))).astype(np.float32)


def write_scan(folder: Path, depths: Sequence, cameras: Sequence[Camera], confidences=None, images=None) -> Path:
    """Write views 0, 1, ... in the output layout; confidence 1 and grey images unless given."""
    for view, (depth, view_camera) in enumerate(zip(depths, cameras, strict=True)):
        confidence = np.ones(depth.shape, np.float32) if confidences is None else confidences[view]
        image = np.full((*depth.shape, 3), 100, np.uint8) if images is None else images[view]
        write_pfm(folder / "depth_est" / f"{view:08d}.pfm", depth)
        write_pfm(folder / "confidence" / f"{view:08d}.pfm", confidence)
        write_camera(folder / "cams" / f"{view:08d}_cam.txt", view_camera)
        write_image(folder / "images" / f"{view:08d}.jpg", image)
    return folder

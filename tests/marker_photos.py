"""Cameras and photos of a plane, for tests of scale."""

import cv2
import numpy as np

from datasets.camera import Camera

_SIZE, _FOCAL = (640, 480), 600.0


def looking_at(centre, target) -> Camera:
    """A camera at a place that looks at another, its image's up as near to y as may be; pixels of 640 x 480."""
    forward = np.subtract(target, centre) / np.linalg.norm(np.subtract(target, centre))
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right)
    cam_T_world = np.eye(4)
    cam_T_world[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    cam_T_world[:3, 3] = -cam_T_world[:3, :3] @ centre
    K = np.array([[_FOCAL, 0, (_SIZE[0] - 1) / 2], [0, _FOCAL, (_SIZE[1] - 1) / 2], [0, 0, 1]])
    return Camera(K, cam_T_world, (0.5, 0.01, 100.0, 1.5))


def photo_of_plane(picture: np.ndarray, side: float, camera: Camera) -> np.ndarray:
    """RGB photo of a square picture that lies around the origin on z = 0, its top towards y, on grey ground."""
    count = len(picture)
    # Pixel centres of the picture to the plane, and on to the camera.
    step, first = side / count, side * (0.5 / count - 0.5)
    plane_T_picture = np.array([[step, 0, first], [0, -step, -first], [0, 0, 1]])
    H = camera.K @ camera.cam_T_world[:3][:, [0, 1, 3]] @ plane_T_picture
    scale = 3  # supersampled: a warped picture would be jagged
    up = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]])
    large = cv2.warpPerspective(picture, up @ H, (_SIZE[0] * scale, _SIZE[1] * scale), borderValue=(120, 120, 120))
    return cv2.resize(large, _SIZE, interpolation=cv2.INTER_AREA)

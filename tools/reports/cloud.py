"""The interactive model: a scan's cloud and mesh as they are read, and what their viewer (viewer/*.js) is given."""

import dataclasses
from typing import Any

import cv2
import numpy as np
from scipy.spatial import cKDTree

from datasets.formats.ply import read_ply
from datasets.formats.ply_numbers import read_ply_numbers
from datasets.predictions import DepthView
from fusion.clouds import Points
from tools.evaluation.scan_results import ScanResult
from tools.reports.frame import Frame, frame_around, frame_of_both
from tools.reports.mesh import Mesh, encoded, mesh_data
from tools.reports.thinning import voxel_thinned

_PROBES, _NEIGHBOUR = 2000, 4
_POINTS_BESIDE_A_MESH = 150_000  # or the page would be too large to be sent
# What the viewer colours numbers with: OpenCV's maps, so many samples each.
_RAMPS = {"height": cv2.COLORMAP_TURBO, "views": cv2.COLORMAP_VIRIDIS, "confidence": cv2.COLORMAP_VIRIDIS}
_SAMPLES = 32


@dataclasses.dataclass(frozen=True)
class Cloud:
    """A scan's points; `numbers`: what is known of each, "views" that agreed and "confidence" from 0 to 1, as bytes."""

    points: Points
    numbers: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, selected: np.ndarray) -> "Cloud":
        return Cloud(self.points[selected], {name: values[selected] for name, values in self.numbers.items()})


@dataclasses.dataclass(frozen=True)
class Measures:
    """What lengths mean: their unit in a word, and the direction [3] that is up, where it is known."""

    unit: str = "units"
    up: tuple[float, ...] | None = None


def read_cloud(result: ScanResult) -> Cloud | None:
    """The scan's cloud without what is not finite, grey where it has no colours; None when it was not fused."""
    if not result.cloud_path.exists():
        return None
    xyz, colors = read_ply(result.cloud_path)
    colors = np.full(xyz.shape, 128, np.uint8) if colors is None else colors
    found = read_ply_numbers(result.cloud_path, ("views", "confidence"))
    numbers = {name: _as_bytes(values * (255 if name == "confidence" else 1)) for name, values in found.items()}
    return Cloud(Points(xyz, colors), numbers)[np.isfinite(xyz).all(axis=1)]


def _as_bytes(values: np.ndarray) -> np.ndarray:
    """Values rounded to uint8; what is not a number is 0."""
    return np.rint(np.nan_to_num(values).clip(0, 255)).astype(np.uint8)


def viewer_data(
    cloud: Cloud,
    views: dict[str, DepthView],
    max_points: int,
    measures: Measures = Measures(),
    mesh: Mesh | None = None,
) -> dict[str, Any]:
    """What the viewer draws: the evenly thinned cloud, a mesh, and where to look from; views by their names.

    Positions are int16 around a centre, colours and numbers bytes, all base64; all lengths are in steps of the
    positions, `step` world units each. "shown" points of "total" are there, one a voxel of side "voxel" (0: all);
    "outside" of them were left out because they lie far from the others.
    """
    frame = frame_around(cloud.points.xyz)
    if mesh is not None and len(mesh.faces):
        frame = frame_of_both(frame, frame_around(mesh.vertices))
        max_points = min(max_points, _POINTS_BESIDE_A_MESH)
    inside = cloud[frame.holds(cloud.points.xyz)]
    kept = voxel_thinned(inside.points.xyz, max_points)
    shown = inside[kept.indices]
    positions = frame.steps(shown.points.xyz)
    layers: dict[str, Any] = {"points": _points_data(shown, positions)}
    if mesh is not None and len(mesh.faces):
        layers["surface"] = _surface_data(mesh, frame, shown)
    return {
        **layers,
        "shown": len(shown),
        "total": len(cloud),
        "outside": len(cloud) - len(inside),
        "voxel": kept.size,
        "centre": frame.centre.tolist(),
        "step": frame.step,
        "unit": measures.unit,
        "ramps": {name: _ramp(colours) for name, colours in _RAMPS.items()},
        **_looks(shown.points.xyz, views, frame, measures.up),
    }


def _points_data(shown: Cloud, positions: np.ndarray) -> dict[str, Any]:
    numbers = {name: encoded(values) for name, values in shown.numbers.items()}
    data = {"xyz": encoded(positions), "rgb": encoded(shown.points.colors), "count": len(shown)}
    return {**data, **numbers, "spacing": _spacing(positions)}


def _surface_data(mesh: Mesh, frame: Frame, shown: Cloud) -> dict[str, Any]:
    """The mesh, each vertex with the numbers of the nearest point."""
    data, vertices = mesh_data(mesh, frame)
    if not shown.numbers:
        return data
    _, nearest = cKDTree(shown.points.xyz).query(mesh.vertices[vertices])
    return data | {name: encoded(values[nearest]) for name, values in shown.numbers.items()}


def _ramp(colours: int) -> list[list[int]]:
    """Samples of one of OpenCV's colour maps, RGB."""
    ramp = np.linspace(0, 255, _SAMPLES).round().astype(np.uint8)[None]
    return cv2.applyColorMap(ramp, colours)[0, :, ::-1].tolist()


def _spacing(positions: np.ndarray) -> float:
    """Median distance of a point to its fourth neighbour: a grid's spacing, whether or not views repeat some points."""
    if len(positions) <= _NEIGHBOUR:
        return 1.0
    probes = positions[:: max(1, len(positions) // _PROBES)]
    distances, _ = cKDTree(positions).query(probes, k=[_NEIGHBOUR + 1])
    return max(1.0, float(np.median(distances)))


def _looks(xyz: np.ndarray, views: dict[str, DepthView], frame: Frame, up: tuple[float, ...] | None) -> dict[str, Any]:
    """The cameras' places and directions, which way is up, and how far the cloud is from each camera.

    "slope" is how far a picture reaches from its middle, at distance 1, and "shift" where its middle lies.
    """
    looks = []
    for name, view in views.items():
        camera = view.camera
        height, width = view.depth.shape
        world_T_cam = np.linalg.inv(camera.cam_T_world)
        axes = world_T_cam[:3, :3] / np.linalg.norm(world_T_cam[:3, :3], axis=0)
        focal_x, focal_y = abs(camera.K[0, 0]), abs(camera.K[1, 1])
        _, _, depths = camera.project(xyz)
        front = depths[depths > 0]
        looks.append(
            {
                "name": name,
                "at": ((camera.centre - frame.centre) / frame.step).tolist(),
                "right": axes[:, 0].tolist(),
                "up": (-axes[:, 1]).tolist(),
                "forward": axes[:, 2].tolist(),
                "slope": [width / 2 / focal_x, height / 2 / focal_y],
                "shift": [((width - 1) / 2 - camera.K[0, 2]) / focal_x, (camera.K[1, 2] - (height - 1) / 2) / focal_y],
                "depth": float(np.median(front)) / frame.step if len(front) else 1.0,
            }
        )
    upward = np.mean([look["up"] for look in looks], axis=0) if up is None else np.array(up)
    return {"views": looks, "up": (upward / max(np.linalg.norm(upward), 1e-9)).tolist()}

"""What the coordinates of a scan mean: which way is up, where zero is, how long one is.

Structure from motion finds a scene but for a similarity. Everything that is computed stays in the scan's own
coordinates: cameras, depth maps, their ranges and what they were made from do not change when somebody says how long a
thing is, and nothing has to be predicted anew. What people get, clouds and meshes, is written through one similarity,
`world_T_scan`, which stands in units.json beside them. So the model stands upright on z = 0, in metres where these are
known. Whoever shows a cloud together with its cameras takes both through it (`Units.camera`, `Predictions`).
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from datasets.camera import Camera
from datasets.files import DataError, read_json, write_json

METRES, UNKNOWN = "metres", "units"
_ROTATION_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Units:
    """units: "metres", or "units" where nothing tells their length. source: what told it, in words. up [3]: the
    direction against gravity, in the coordinates of what the file lies beside; None where nothing tells it.
    world_T_scan [4, 4]: the similarity from the scan's coordinates. residual: how far what told the length and the scan
    are apart, in metres; None where that is not known. place: latitude, longitude (degrees) and height (metres) of the
    origin, where that is known: x points east then, y north."""

    units: str = UNKNOWN
    source: str = "none"
    up: tuple[float, float, float] | None = None
    world_T_scan: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(4))
    residual: float | None = None
    place: tuple[float, float, float] | None = None

    @property
    def scale(self) -> float:
        """Length in the world of one unit of the scan."""
        return similarity_scale(self.world_T_scan)

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**dataclasses.asdict(self), "world_T_scan": self.world_T_scan.tolist()}


def write_units(path: Path, units: Units) -> None:
    """Write units.json."""
    write_json(path, units.record())


def read_units(path: Path) -> Units | None:
    """What units.json says; None where there is none. Raises DataError for a damaged one."""
    if not path.exists():
        return None
    content = read_json(path)
    try:
        world_T_scan = np.array(content.get("world_T_scan", np.eye(4)), np.float64)
        check_similarity(world_T_scan)
        units = content.get("units", UNKNOWN)
        if units not in (METRES, UNKNOWN):
            raise ValueError("its units are neither metres nor units")
        numbers = {name: _numbers(content.get(name)) for name in ("up", "place")}
        residual = content.get("residual")
        residual = None if residual is None else float(residual)
        return Units(units, str(content.get("source", "none")), world_T_scan=world_T_scan, residual=residual, **numbers)
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: is damaged ({str(error)[:80]}); remove it, and make the cloud again") from None


def _numbers(values: Any) -> tuple[float, float, float] | None:
    if values is None:
        return None
    x, y, z = (float(value) for value in values)
    if not np.isfinite([x, y, z]).all():
        raise ValueError("a number is not finite")
    return x, y, z


# ---------------------------------------------------------------- similarities


def check_similarity(T: np.ndarray) -> None:
    """Raise ValueError unless a matrix [4, 4] scales, turns and moves, and does nothing else."""
    if T.shape != (4, 4) or not np.isfinite(T).all() or np.abs(T[3] - (0, 0, 0, 1)).max() > 0:
        raise ValueError("world_T_scan is no similarity")
    scale = similarity_scale(T)
    if not scale > 0 or np.abs(T[:3, :3] @ T[:3, :3].T / scale**2 - np.eye(3)).max() > _ROTATION_TOLERANCE:
        raise ValueError("world_T_scan is no similarity")


def similarity(scale: float = 1.0, R: np.ndarray | None = None, t: np.ndarray | None = None) -> np.ndarray:
    """The matrix [4, 4] that turns by R [3, 3], scales, and then moves by t [3]."""
    T = np.eye(4)
    T[:3, :3] = scale * (np.eye(3) if R is None else R)
    T[:3, 3] = 0 if t is None else t
    return T


def similarity_scale(T: np.ndarray) -> float:
    """The factor by which a similarity [4, 4] makes lengths longer; 0 for one that mirrors."""
    return float(np.cbrt(max(np.linalg.det(T[:3, :3]), 0.0)))


def transformed(
    T: np.ndarray, xyz: np.ndarray, normals: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Points [N, 3] and normals [N, 3], of which there may be none, where a similarity takes them; types stay."""
    moved = (xyz.astype(np.float64) @ T[:3, :3].T + T[:3, 3]).astype(xyz.dtype)
    if normals is None:
        return moved, None
    return moved, (normals @ (T[:3, :3].T / similarity_scale(T))).astype(normals.dtype)


def transformed_camera(T: np.ndarray, camera: Camera) -> Camera:
    """The camera where a similarity takes it: it sees the points that it saw before, at depths times the scale."""
    scale = similarity_scale(T)
    cam_T_world = similarity(scale) @ camera.cam_T_world @ np.linalg.inv(T)
    line = camera.depth_line
    lengths = {0, 1, 3}  # the third number of a camera's last line is a count (docs/formats.md)
    scaled = tuple(value * scale if place in lengths else value for place, value in enumerate(line))
    return dataclasses.replace(camera, cam_T_world=cam_T_world, depth_line=scaled)

"""How a mesh is made. Light: no numba, no Open3D."""

import dataclasses
import math

from datasets.files import DataError

METHODS = ("tsdf", "poisson")
FORMATS = ("ply", "glb", "obj", "stl")
_LEAST_GB, _MOST_GB = 0.1, 1e4
_SMALLEST_TEXTURE, _LARGEST_TEXTURE = 256, 16_384
_MOST_FACES = 100_000_000
_MOST_SMOOTH = 16.0
_LEAST_TRUNCATION, _MOST_TRUNCATION = 2.0, 32.0


@dataclasses.dataclass(frozen=True)
class MeshSettings:
    """How a scan's depth maps become a mesh; the defaults are those of tools/make_mesh.py.

    method: "tsdf" fuses the depth maps that the cloud was made of into a truncated signed distance, "poisson" puts a
    surface through their oriented points. voxel: edge of the cubes, world units; None: what a pixel covers at the
    median depth. truncation: how far a depth tells of space before and behind it, in voxels. faces: so many at most, 0
    keeps all. fill: where the cloud's check kept nothing, depth that a looser one keeps counts, a little: holes close.
    rim: share of the longer side that depth may reach beyond an edge into what has none, as a roof's into the sky, 0:
    it stays. bridges: whether depth between a thing and what lies behind it goes, of which webs would be made. smooth:
    so many pixels of disparity may be noise, which neighbours average, 0: none. islands: pieces of a smaller share of
    the faces go. close_holes: a closed solid, where nobody looked too. texture: photos on the faces, in a picture of
    texture_size pixels a side at most, instead of colours at their corners. memory: gigabytes that the voxels may take
    at a time. formats: files to write.

    Raises DataError, in the words of the programs' flags, for values that cannot be.
    """

    method: str = "tsdf"
    voxel: float | None = None
    truncation: float = 4.0
    faces: int = 200_000
    fill: bool = True
    rim: float = 0.08
    bridges: bool = True
    smooth: float = 2.0
    islands: float = 0.001
    close_holes: bool = False
    texture: bool = False
    texture_size: int = 4096
    memory: float = 2.0
    formats: tuple[str, ...] = ("ply", "glb")

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise DataError(f"--method {self.method}: must be one of {', '.join(METHODS)}")
        if not self.formats or not set(self.formats) <= set(FORMATS):
            raise DataError(f"--formats {','.join(self.formats)}: must be some of {','.join(FORMATS)}")
        if self.voxel is not None and not 0 < self.voxel < math.inf:
            raise DataError(f"--voxel {self.voxel:g}: must be a positive size in world units")
        _check("truncation", self.truncation, _LEAST_TRUNCATION, _MOST_TRUNCATION)
        _check("faces", self.faces, 0, _MOST_FACES)
        _check("texture_size", self.texture_size, _SMALLEST_TEXTURE, _LARGEST_TEXTURE)
        _check("smooth", self.smooth, 0, _MOST_SMOOTH)
        _check("memory", self.memory, _LEAST_GB, _MOST_GB)
        if not 0 <= self.rim <= 1:
            raise DataError(f"--rim {self.rim:g}: must be a share of the longer side, from 0 to 1")
        if not 0 <= self.islands < 1:
            raise DataError(f"--islands {self.islands:g}: must be a share of the faces, from 0 on and below 1")


def _check(flag: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise DataError(f"--{flag} {value:g}: must be a number from {least:g} on, {most:g} at most")

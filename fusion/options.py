"""What becomes of a cloud's points before they are written. Light: no numba, no torch."""

import dataclasses
import math

from datasets.files import DataError

THINNINGS = ("random", "even")
FORMATS = ("ply", "laz", "glb")

_SMALLEST = 1.1754944e-38  # of float32's normal numbers
_FLATTEST = 90.0  # degrees


@dataclasses.dataclass(frozen=True)
class Cleaning:
    """Which points of a cloud go, rule by rule; 0 switches a rule off.

    Rules that need depth maps and photos:
    rim: pixels, as a share of the image's longer side, that depth may reach beyond an edge of the photo into what has
    no depth, as a roof's into the sky. grazing: degrees between the line of sight and the surface; flatter ones go,
    and points whose depth map has no surface around them. through: a point goes when more than this share of the views
    that agree on it look through it, at something behind. views: least number of views that agree, the point's own
    among them. region: times the median distance to the nearest camera.
    Rules that need the points alone:
    isolation: times the spacing of the points around. island: share of the cloud that a group needs where nothing else
    is near.

    Raises DataError, in the words of the programs' flags, for values that cannot be.
    """

    rim: float = 0.08
    grazing: float = 0.0
    through: float = 0.5
    views: int = 0
    region: float = 6.0
    isolation: float = 3.0
    island: float = 0.0005

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < math.inf:
                raise DataError(f"--clean_{field.name} {value:g}: must be 0, which switches it off, or more")
        for name in ("rim", "island"):
            if getattr(self, name) > 1:
                raise DataError(f"--clean_{name} {getattr(self, name):g}: is a share, at most 1")
        if self.grazing > _FLATTEST:
            raise DataError(f"--clean_grazing {self.grazing:g}: is an angle, at most {_FLATTEST:g} degrees")

    @property
    def looks_at_views(self) -> bool:
        """Whether a rule needs more than the points."""
        return any((self.rim, self.grazing, self.through, self.views, self.region))


@dataclasses.dataclass(frozen=True)
class CloudOptions:
    """How a cloud is written: with normals or not; with the number of agreeing views and the confidence of every point
    (`agreement`) or not; only what lies in `bbox` (x0, y0, z0, x1, y1, z1, world units, faces included); one mean point
    per cube of side `voxel`; at most `max_points`: drawn at random with `seed`, or mean points of even spacing, beside
    which the whole cloud is written too. cleaning: which points go. formats: the files that are written, a PLY in any
    case.

    Raises DataError, in the words of the programs' flags, for values that cannot be.
    """

    normals: bool = False
    bbox: tuple[float, ...] | None = None
    voxel: float | None = None
    max_points: int | None = None
    seed: int = 0
    agreement: bool = False
    thinning: str = "random"
    cleaning: Cleaning | None = None
    formats: tuple[str, ...] = ("ply",)

    def __post_init__(self) -> None:
        if self.bbox is not None:
            text = ",".join(f"{value:g}" for value in self.bbox)
            if len(self.bbox) != 6 or any(math.isnan(value) for value in self.bbox):
                raise DataError(f"--bbox={text}: needs six numbers x0,y0,z0,x1,y1,z1")
            if not all(low < high for low, high in zip(self.bbox[:3], self.bbox[3:], strict=True)):
                raise DataError(f"--bbox={text}: is an empty box; x0 < x1, y0 < y1 and z0 < z1 must hold")
        if self.voxel is not None and not _SMALLEST <= self.voxel < math.inf:
            raise DataError(f"--voxel {self.voxel:g}: must be a positive size in world units")
        if self.max_points is not None and self.max_points < 1:
            raise DataError(f"--max_points {self.max_points}: must be at least 1")
        if self.thinning not in THINNINGS:
            raise DataError(f"--thinning {self.thinning}: must be one of {', '.join(THINNINGS)}")
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown or not self.formats:
            raise DataError(f"--formats {','.join(self.formats)}: must be some of {','.join(FORMATS)}")

    @property
    def streams(self) -> bool:
        """Whether points can be written as they come, without a look at them all first."""
        even = self.thinning == "even" and self.max_points is not None
        return self.cleaning is None and not even and set(self.formats) <= {"ply"}


# For people with photos: clean, and of a size that any program opens.
FOR_PHOTOS = CloudOptions(normals=True, agreement=True, thinning="even", max_points=2_000_000, cleaning=Cleaning())

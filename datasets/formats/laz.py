"""Writing a cloud as LAZ (compressed LAS 1.4), for CloudCompare, QGIS and surveyors' programs; needs laspy."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from datasets.files import DataError, PathLike, atomic_open

_POINT_FORMAT, _VERSION = 7, "1.4"  # with colours of 16 bits
_OF_8_BITS = 257
_STEPS = 2.0**28  # of the cloud's size: places are integers of 32 bits
_REQUIREMENTS = "requirements-laz.txt"


class LazPart(NamedTuple):
    """Some points: xyz [M, 3], colors [M, 3] uint8, and normals [M, 3], views [M], confidence [M], each maybe None."""

    xyz: np.ndarray
    colors: np.ndarray
    normals: np.ndarray | None
    views: np.ndarray | None
    confidence: np.ndarray | None


def import_laspy() -> Any:
    """The library; raises DataError where it is missing."""
    try:
        import laspy  # few have it
        import lazrs  # noqa: F401  what compresses
    except ImportError as error:
        raise DataError(
            f"laspy cannot be used ({str(error)[:100]}), which LAZ needs; install it: pip install -r {_REQUIREMENTS}"
        ) from None
    return laspy


def write_laz(path: PathLike, parts: Iterable[LazPart], bounds: np.ndarray) -> int:
    """Write a cloud part by part; `bounds` [2, 3] are its least and largest coordinates. Returns the number of points.

    Normals, views and confidence are extra dimensions of these names (nx, ny, nz). Places are rounded to a
    quarter-billionth of the cloud's size. Raises DataError when laspy is missing or the file cannot be written.
    """
    laspy = import_laspy()
    header, count = None, 0
    with atomic_open(path) as file:
        for part in parts:
            if header is None:
                header = _header(laspy, part, bounds)
                writer = laspy.LasWriter(file, header, do_compress=True, closefd=False)
            if len(part.xyz):
                writer.write_points(_record(laspy, header, part))
                count += len(part.xyz)
        if header is not None:
            writer.close()
    return count


def _header(laspy: Any, like: LazPart, bounds: np.ndarray) -> Any:
    header = laspy.LasHeader(point_format=_POINT_FORMAT, version=_VERSION)
    low, high = bounds.astype(np.float64)
    header.offsets = low
    header.scales = np.maximum((high - low).max() / _STEPS, np.finfo(np.float32).tiny) * np.ones(3)
    header.generating_software = "KD-MVS"
    dimensions = [("nx", "f4"), ("ny", "f4"), ("nz", "f4")] if like.normals is not None else []
    dimensions += [("views", "u1")] if like.views is not None else []
    dimensions += [("confidence", "f4")] if like.confidence is not None else []
    header.add_extra_dims([laspy.ExtraBytesParams(name, kind) for name, kind in dimensions])
    return header


def _record(laspy: Any, header: Any, part: LazPart) -> Any:
    record = laspy.ScaleAwarePointRecord.zeros(len(part.xyz), header=header)
    record.x, record.y, record.z = part.xyz.astype(np.float64).T
    record.red, record.green, record.blue = part.colors.T.astype(np.uint16) * _OF_8_BITS
    if part.normals is not None:
        for name, values in zip(("nx", "ny", "nz"), part.normals.T, strict=True):
            record[name] = values
    if part.views is not None:
        record["views"] = part.views
    if part.confidence is not None:
        record["confidence"] = part.confidence
    return record

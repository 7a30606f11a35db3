"""Where a photo was taken, as its EXIF data says (CIPA DC-008), and metres around a place on the Earth."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from datasets.files import PathLike

_GPS_IFD = 0x8825
_LAT_REF, _LAT, _LON_REF, _LON, _ALT_REF, _ALT, _ERROR = 1, 2, 3, 4, 5, 6, 31
_BELOW_SEA = 1
# The Earth's ellipsoid (WGS 84): semi-major axis in metres, and the square of the eccentricity.
_AXIS, _ECCENTRICITY2 = 6378137.0, 6.69437999014e-3


class GpsPlace(NamedTuple):
    """latitude, longitude in degrees; height in metres (NaN where it is not told); error: the horizontal one that the
    receiver tells, in metres (NaN where it does not)."""

    latitude: float
    longitude: float
    height: float
    error: float


def read_gps(path: PathLike) -> GpsPlace | None:
    """Where a photo was taken; None where it does not tell, or its EXIF data is damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of damaged EXIF data and large images, which are not decoded
            with PIL.Image.open(path) as image:
                return gps_of_tags(image.getexif().get_ifd(_GPS_IFD))
    except MemoryError:
        raise
    except Exception:  # Pillow's parser raises many kinds
        return None


def gps_of_tags(tags: Mapping[int, Any]) -> GpsPlace | None:
    """The place that EXIF's GPS tags tell; None where they tell none, or one that is not on the Earth."""
    try:
        latitude = _degrees(tags[_LAT]) * (-1 if str(tags[_LAT_REF]).upper().startswith("S") else 1)
        longitude = _degrees(tags[_LON]) * (-1 if str(tags[_LON_REF]).upper().startswith("W") else 1)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    # Cameras without a fix write zeros.
    if not (abs(latitude) <= 90 and abs(longitude) <= 180) or latitude == longitude == 0:
        return None
    below = tags.get(_ALT_REF) in (_BELOW_SEA, bytes([_BELOW_SEA]))
    height = _number(tags.get(_ALT)) * (-1 if below else 1)
    return GpsPlace(latitude, longitude, height, _number(tags.get(_ERROR)))


def _degrees(values: Sequence[Any]) -> float:
    """Of degrees, minutes, seconds."""
    degrees, minutes, seconds = (float(value) for value in values)
    total = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(total):
        raise ValueError("an angle is not finite")
    return total


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, ArithmeticError):
        return math.nan


def metres_around(places: Sequence[GpsPlace], origin: GpsPlace) -> np.ndarray:
    """East, north, up in metres [N, 3] of places from another one; up is NaN where a height is not told."""
    latitude, longitude = np.radians([[place.latitude, place.longitude] for place in places]).T
    at_latitude, at_longitude = math.radians(origin.latitude), math.radians(origin.longitude)
    curvature = 1 - _ECCENTRICITY2 * math.sin(at_latitude) ** 2
    meridian = _AXIS * (1 - _ECCENTRICITY2) / curvature**1.5
    parallel = _AXIS / math.sqrt(curvature) * math.cos(at_latitude)
    east = parallel * ((longitude - at_longitude + math.pi) % (2 * math.pi) - math.pi)
    up = np.array([place.height for place in places]) - origin.height
    return np.stack([east, meridian * (latitude - at_latitude), up], axis=1)

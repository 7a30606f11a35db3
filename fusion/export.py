"""A cloud in the formats that other programs read best."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from datasets.formats.glb import write_glb_points
from datasets.formats.laz import LazPart, write_laz
from fusion.clouds import Points

Parts = Callable[[], Iterable[Points]]


def write_format(path: Path, parts: Parts, kind: str) -> int:
    """Write the points that `parts` gives, at every call the same, as "laz" or "glb"; returns their number."""
    if kind == "glb":
        return write_glb_points(path, ((part.xyz, part.colors) for part in parts()))
    return write_laz(path, (LazPart(*part.columns()) for part in parts()), _bounds(parts()))


def _bounds(parts: Iterable[Points]) -> np.ndarray:
    """The least and the largest coordinates [2, 3]."""
    bounds = np.array([[np.inf] * 3, [-np.inf] * 3])
    for part in parts:
        if len(part):
            bounds[0] = np.minimum(bounds[0], part.xyz.min(axis=0))
            bounds[1] = np.maximum(bounds[1], part.xyz.max(axis=0))
    return bounds if np.isfinite(bounds).all() else np.zeros((2, 3))

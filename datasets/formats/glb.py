"""Writing a cloud as GLB (glTF 2.0, binary), which viewers on the web, phones and Blender open.

One node with one mesh of points: places as floats around a centre, which the node's translation puts back, and colours
of 8 bits. glTF's y axis is up: a world whose z is up is turned.
"""

import json
import struct
from collections.abc import Iterable

import numpy as np

from datasets.files import DataError, PathLike, atomic_open

_MAGIC, _VERSION = 0x46546C67, 2
_JSON, _BINARY = 0x4E4F534A, 0x004E4942
_FLOAT, _BYTE = 5126, 5121  # component types
_POINTS = 0  # mode of a primitive
_VERTICES = 34962  # target of a buffer view
_LARGEST = 2**32 - 2**20  # bytes of a file, whose lengths are numbers of 32 bits
_LINEAR = 2.2  # glTF's vertex colours are linear, photos are not

# x stays, z up becomes y up.
GLTF_R_WORLD = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


def write_glb_points(path: PathLike, parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
    """Write places [M, 3] with RGB uint8 colors [M, 3], part by part; returns their number. z is up in them.

    Memory: 16 bytes for each point. Raises DataError when the file cannot be written or would be too large.
    """
    places, shades, origin = [], [], None
    for xyz, colors in parts:
        if origin is None and len(xyz):
            origin = np.median(xyz.astype(np.float64), axis=0)
        if len(xyz):
            places.append(((xyz - origin) @ GLTF_R_WORLD.T).astype("<f4"))
            shades.append(_linear(colors))
    count = sum(map(len, places))
    if 16 * count > _LARGEST:
        raise DataError(f"{path}: {count} points are too many for a GLB; give --max_points")
    description = _description(count, _bounds(places), GLTF_R_WORLD @ origin) if count else _nothing()
    with atomic_open(path) as file:
        text = json.dumps(description, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = 12 + 8 + len(text) + (8 + 16 * count if count else 0)
        file.write(struct.pack("<3I", _MAGIC, _VERSION, chunks))
        file.write(struct.pack("<2I", len(text), _JSON) + text)
        if count:
            file.write(struct.pack("<2I", 16 * count, _BINARY))
            for part in (*places, *shades):
                file.write(part.tobytes())
    return count


def _linear(colors: np.ndarray) -> np.ndarray:
    """Colours as glTF has them, RGBA of 8 bits [M, 4]."""
    rgba = np.full((len(colors), 4), 255, np.uint8)
    ramp = np.rint(255 * (np.arange(256) / 255) ** _LINEAR).astype(np.uint8)
    rgba[:, :3] = ramp[colors]
    return rgba


def _bounds(places: list[np.ndarray]) -> np.ndarray:
    """The least and the largest coordinates [2, 3]."""
    low, high = ([getattr(part, name)(axis=0) for part in places] for name in ("min", "max"))
    return np.array([np.min(low, axis=0), np.max(high, axis=0)])


def _nothing() -> dict:
    return {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{}]}


def _description(count: int, bounds: np.ndarray, translation: np.ndarray) -> dict:
    """The JSON part of a file."""
    low, high = bounds.astype(np.float32).astype(float).tolist()
    place = {"bufferView": 0, "componentType": _FLOAT, "count": count, "type": "VEC3", "min": low, "max": high}
    color = {"bufferView": 1, "componentType": _BYTE, "normalized": True, "count": count, "type": "VEC4"}
    views = [
        {"buffer": 0, "byteOffset": offset, "byteLength": length, "target": _VERTICES}
        for offset, length in ((0, 12 * count), (12 * count, 4 * count))
    ]
    primitive = {"attributes": {"POSITION": 0, "COLOR_0": 1}, "mode": _POINTS, "material": 0}
    unlit = {"pbrMetallicRoughness": {"metallicFactor": 0.0}, "extensions": {"KHR_materials_unlit": {}}}
    return {
        "asset": {"version": "2.0", "generator": "KD-MVS"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "cloud", "translation": translation.tolist()}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [unlit],
        "accessors": [place, color],
        "bufferViews": views,
        "buffers": [{"byteLength": 16 * count}],
    }

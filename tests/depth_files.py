"""Depth maps as other programs write them, for the tests of readers and importers."""

import struct

import numpy as np


def colmap_map(values: np.ndarray) -> bytes:
    """The content of a COLMAP map of [H, W] or [H, W, C]."""
    planes = values[None] if values.ndim == 2 else np.moveaxis(values, 2, 0)
    channels, height, width = planes.shape
    return f"{width}&{height}&{channels}&".encode() + planes.astype("<f4").tobytes()


def dmap(depth: np.ndarray, photo: str, confidence: np.ndarray | None = None, normals: bool = False) -> bytes:
    """The content of a depth map [H, W] of OpenMVS for a photo, seen with three neighbours."""
    height, width = depth.shape
    kind = 1 + 2 * normals + 4 * (confidence is not None) + 8
    content = struct.pack("<2sBx4I2f", b"DR", kind, 2 * width, 2 * height, width, height, 1.0, 9.0)
    name = photo.encode()
    content += struct.pack("<H", len(name)) + name + struct.pack("<5I", 4, 0, 1, 2, 3) + bytes(8 * 21)
    content += depth.astype("<f4").tobytes() + (bytes(12 * depth.size) if normals else b"")
    content += b"" if confidence is None else confidence.astype("<f4").tobytes()
    return content + bytes(4 * depth.size)

"""Writing of binary glTF 2.0 meshes, GLB, with colours or with a picture inside (docs/formats.md)."""

import json
from typing import Any

import cv2
import numpy as np

from datasets.files import DataError, PathLike, write_bytes
from datasets.formats.images import encode_image

_MAGIC, _VERSION, _JSON, _BIN = b"glTF", 2, b"JSON", b"BIN\0"
_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_VERTICES, _INDICES = 34962, 34963  # kinds of buffers
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
_LINEAR, _CLAMP = 9729, 33071
_QUALITY = 92  # of the JPEG
# Photos hold their own light: viewers that know this extension add none.
_UNLIT = "KHR_materials_unlit"


def write_glb(
    path: PathLike,
    vertices: np.ndarray,
    normals: np.ndarray,
    faces: np.ndarray,
    colors: np.ndarray,
    world_T_mesh: np.ndarray,
    corners: np.ndarray | None = None,
    image: np.ndarray | None = None,
) -> None:
    """Write vertices [V, 3], normals [V, 3], faces [F, 3] and RGB uint8 colors [V, 3] as a GLB.

    world_T_mesh [4, 4] takes the vertices to the scene, whose y is up; it is kept as the node's matrix, in double, so
    that vertices, which are float32, can be small numbers. With corners [F, 3, 2], the places of the faces' corners in
    the RGB uint8 image [H, W, 3] in pixels, the image goes into the file, as JPEG, instead of the colours.
    """
    buffers = _Buffers()
    material: dict[str, Any] = {
        "pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1},
        "doubleSided": True,
    }
    material["extensions"] = {_UNLIT: {}}
    document: dict[str, Any] = {"asset": {"version": "2.0", "generator": "KD-MVS"}, "extensionsUsed": [_UNLIT]}
    if corners is None or image is None:
        attributes = _attributes(buffers, vertices, normals)
        attributes["COLOR_0"] = buffers.add(_linear(colors), _UINT16, _VERTICES, normalized=True)
        indices = faces
    else:
        used, places, indices = _split_corners(faces, corners)
        attributes = _attributes(buffers, vertices[used], normals[used])
        size = np.array(image.shape[1::-1])
        attributes["TEXCOORD_0"] = buffers.add(((places + 0.5) / size).astype(np.float32), _FLOAT, _VERTICES)
        document["images"] = [{"mimeType": "image/jpeg", "bufferView": buffers.view(_jpeg(image))}]
        document["samplers"] = [{"magFilter": _LINEAR, "minFilter": _LINEAR, "wrapS": _CLAMP, "wrapT": _CLAMP}]
        document["textures"] = [{"source": 0, "sampler": 0}]
        material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    primitive = {"attributes": attributes, "material": 0}
    primitive["indices"] = buffers.add(indices.reshape(-1, 1).astype(np.uint32), _UINT32, _INDICES)
    document |= {"materials": [material], "meshes": [{"primitives": [primitive]}], "scene": 0}
    # glTF's matrices are written column by column.
    document |= {"scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0, "matrix": world_T_mesh.T.ravel().tolist()}]}
    document |= {"accessors": buffers.accessors, "bufferViews": buffers.views}
    document["buffers"] = [{"byteLength": buffers.length}]
    _write(path, document, buffers.parts)


def _attributes(buffers: "_Buffers", vertices: np.ndarray, normals: np.ndarray) -> dict[str, int]:
    """Positions, whose bounds must be told, and normals."""
    positions = vertices.astype(np.float32)
    position = buffers.add(positions, _FLOAT, _VERTICES)
    bounds = {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}
    buffers.accessors[position] |= bounds
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    directions = np.where(lengths > 0, normals, [0.0, 0.0, 1.0]).astype(np.float32)
    return {"POSITION": position, "NORMAL": buffers.add(directions, _FLOAT, _VERTICES)}


def _split_corners(faces: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A vertex for every different place that a corner has in the picture: old numbers [W], places [W, 2], faces."""
    keys = np.empty(faces.size, [("vertex", "<i8"), ("x", "<f4"), ("y", "<f4")])
    keys["vertex"], (keys["x"], keys["y"]) = faces.ravel(), corners.reshape(-1, 2).T
    found, numbers = np.unique(keys, return_inverse=True)
    return found["vertex"], np.stack([found["x"], found["y"]], axis=1), numbers.reshape(faces.shape)


def _jpeg(image: np.ndarray) -> bytes:
    content = encode_image(image, "jpg", [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if content is None:
        raise DataError(f"the texture of {image.shape[1]}x{image.shape[0]} pixels cannot be encoded")
    return content


def _linear(colors: np.ndarray) -> np.ndarray:
    """sRGB uint8 [V, 3] as the linear RGBA uint16 [V, 4] that glTF's vertex colours are."""
    share = np.arange(256) / 255
    table = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    table = np.rint(table * 65535).astype(np.uint16)
    return np.hstack([table[colors], np.full((len(colors), 1), 65535, np.uint16)])


class _Buffers:
    """Parts of the binary chunk, each at a multiple of four bytes, and what the document says of them."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.length = 0
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, content: bytes, target: int | None = None) -> int:
        """The number of a new view of bytes."""
        own = {"buffer": 0, "byteOffset": self.length, "byteLength": len(content)}
        self.views.append(own if target is None else own | {"target": target})
        self.parts += [content, bytes(-len(content) % 4)]
        self.length += len(content) + -len(content) % 4
        return len(self.views) - 1

    def add(self, table: np.ndarray, kind: int, target: int, normalized: bool = False) -> int:
        """The number of a new accessor of a table [N, K]."""
        own = {"bufferView": self.view(np.ascontiguousarray(table).tobytes(), target), "componentType": kind}
        own |= {"count": len(table), "type": _KINDS[table.shape[1]]}
        self.accessors.append(own | {"normalized": True} if normalized else own)
        return len(self.accessors) - 1


def _write(path: PathLike, document: dict[str, Any], parts: list[bytes]) -> None:
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary = sum(map(len, parts))
    sizes = [len(text), binary, 12 + 8 + len(text) + 8 + binary]
    of_text, of_binary, of_all = (np.uint32(size).tobytes() for size in sizes)
    header = _MAGIC + np.uint32(_VERSION).tobytes() + of_all
    write_bytes(path, header, of_text + _JSON, text, of_binary + _BIN, *parts)

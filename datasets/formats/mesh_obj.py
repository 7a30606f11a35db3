"""Writing of OBJ meshes, with a material file and a texture, or with colours at the vertices (docs/formats.md)."""

import io
from pathlib import Path

import numpy as np

from datasets.files import PathLike, write_bytes
from datasets.formats.images import write_image

_MATERIAL = "photos"


def write_obj(
    path: PathLike,
    vertices: np.ndarray,
    faces: np.ndarray,
    colors: np.ndarray,
    corners: np.ndarray | None = None,
    image: np.ndarray | None = None,
) -> None:
    """Write vertices [V, 3] and faces [F, 3]; with RGB uint8 colors [V, 3] behind the vertices, as many programs do.

    With corners [F, 3, 2], the places of the faces' corners in the RGB uint8 image [H, W, 3] in pixels, the image is
    written beside as .jpg and the material that names it as .mtl; the OBJ, which names both, is written last.
    """
    path, text = Path(path), io.StringIO()
    place = " ".join(["%.15g" if vertices.dtype == np.float64 else "%.9g"] * 3)
    if corners is None or image is None:
        np.savetxt(text, np.hstack([vertices, colors / 255.0]), f"v {place} %.4g %.4g %.4g")
        np.savetxt(text, faces + 1, "f %d %d %d")
        write_bytes(path, text.getvalue().encode())
        return
    picture, material = path.with_suffix(".jpg"), path.with_suffix(".mtl")
    write_image(picture, image)
    write_bytes(material, f"newmtl {_MATERIAL}\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nmap_Kd {picture.name}\n".encode())
    text.write(f"mtllib {material.name}\nusemtl {_MATERIAL}\n")
    np.savetxt(text, vertices, f"v {place}")
    height, width = image.shape[:2]
    places = (corners.reshape(-1, 2) + 0.5) / [width, height]
    np.savetxt(text, np.stack([places[:, 0], 1 - places[:, 1]], axis=1), "vt %.6f %.6f")
    numbers = np.arange(1, 3 * len(faces) + 1).reshape(-1, 3)
    table = np.stack([faces + 1, numbers], axis=-1).reshape(-1, 6)
    np.savetxt(text, table, "f %d/%d %d/%d %d/%d")
    write_bytes(path, text.getvalue().encode())

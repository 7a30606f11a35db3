"""Pictures to look at: views of a point cloud or of a mesh.

    python tools/pictures.py --cloud OUT/gipuma_pcd/mvsnet024_l3.ply --camera OUT/scan24/cams/00000000_cam.txt \\
        --size 800x600 --out cloud.png
    python tools/pictures.py --cloud OUT/gipuma_pcd/mvsnet024_l3_mesh.ply --camera ... --turn 40 --shade --out mesh.png
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import _checkout  # noqa: F401

from datasets.formats.images import write_image
from datasets.formats.ply import read_ply
from datasets.formats.ply_faces import read_ply_triangles
from datasets.io import read_camera
from datasets.results import units_path
from datasets.units import read_units, transformed_camera
from tools.reports.pictures import render_cloud, turned
from tools.runtime.program import Formatter, finite_float, run_program, whole_number

_LARGEST_SIDE, _LARGEST_SPLAT = 16_384, 100  # pixels


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(word) for word in text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 800x600") from None
    if not 1 <= min(width, height) <= max(width, height) <= _LARGEST_SIDE:
        raise argparse.ArgumentTypeError(f"{text!r}: sides must be from 1 to {_LARGEST_SIDE} pixels")
    return width, height


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--cloud", type=Path, required=True, help="PLY file with colours; one with faces is a mesh")
    parser.add_argument("--camera", required=True, help="camera file to look through")
    parser.add_argument("--size", type=_size, default="640x480", help="size of the picture that the camera belongs to")
    parser.add_argument("--turn", type=finite_float, default=0.0, help="move the camera around the cloud, degrees")
    parser.add_argument(
        "--splat", type=whole_number(1, _LARGEST_SPLAT), default=2, help="pixels a point covers along each side"
    )
    parser.add_argument(
        "--shade", action="store_true", help="a mesh: grey, by how its faces are turned; back faces blue"
    )
    parser.add_argument("--out", required=True, help="PNG file to write")
    return parser.parse_args(argv)


def main() -> None:
    """Parse the flags and draw a cloud."""
    args = parse()
    points, colors = read_ply(args.cloud)
    if colors is None:
        colors = np.full((len(points), 3), 128, np.uint8)
    camera, units = read_camera(args.camera), read_units(units_path(args.cloud))
    if units is not None:
        camera = transformed_camera(units.world_T_scan, camera)
    if args.turn and len(points):
        camera = turned(camera, np.median(points, axis=0), args.turn)
    triangles = read_ply_triangles(args.cloud)
    if len(triangles):
        from fusion.mesh.render import picture  # loads numba, which a cloud need not wait for
        from fusion.mesh.surfaces import Surface

        mesh = Surface(points.astype(np.float64), triangles.astype(np.int32))
        write_image(args.out, picture(mesh, colors, camera, args.size, args.shade))
    else:
        write_image(args.out, render_cloud(points, colors, camera, args.size, args.splat))
    print(f"picture: {args.out}")


if __name__ == "__main__":
    run_program(main)
